"""Inputs that are no video vsr could read: one clear line each, at once, whatever they are."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clips import Clip
from vsr.boxes import is_encrypted, lacks_index
from vsr.demux import open_input, video_stream
from vsr.errors import InputError

SECONDS = 10  # of a whole process, on a busy machine
PYTHON = (sys.executable, "-c", "import sys; from vsr.cli.run import main; sys.exit(main())")


def encrypted(path: Path) -> Path:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "0" * 32, "encryption_kid": "1" * 32}
    return Clip(muxing=key).write(path)


def headless(path: Path) -> Path:
    data = Clip().write(path).read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    return path


def written(data: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return write


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def subtitles(path: Path) -> Path:
    path.write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    return path


ZERO: Callable[[Path], Path] = lambda path: Path("/dev/zero")  # noqa: E731
CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda path: path, "no such file"),
    "a folder named as a video": (lambda path: path.mkdir() or path, "no videos or pictures inside"),  # type: ignore[func-returns-value]
    "empty": (written(b""), "the file is empty"),
    "one byte": (written(b"\0"), "can't be read as video"),
    "text": (written(b"Words and nothing else.\n" * 99), "can't be read as video"),
    "random": (written(os.urandom(1 << 16)), "can't be read as video"),
    "zeros": (written(bytes(1 << 20)), "can't be read as video"),
    "encrypted": (encrypted, "is encrypted"),
    "never finished": (headless, "its index is missing: the file is incomplete"),
    "pipe without a writer": (pipe, "no file but a pipe or a device"),
    "device": (ZERO, "no file but a pipe or a device"),
    "subtitles": (subtitles, "can't be read as video"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line(tmp_path: Path, case: str) -> None:
    make, reason = CASES[case]
    path, begin = make(tmp_path / "in.mp4"), time.monotonic()
    done = subprocess.run((*PYTHON, path, "out.mp4"), capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == (2 if "folder" in case else 3)
    assert done.stderr.startswith("vsr-run: ")
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "out.mp4").exists()
    assert time.monotonic() - begin < SECONDS


@pytest.mark.parametrize("closed", ["a.mp4", "."], ids=["file", "folder"])
def test_without_permission(closed: str) -> None:
    """Root may read everything, so where the tests are run by root the file is opened as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        path = Clip().write(Path(folder, "a.mp4"))
        Path(folder).chmod(0o755)
        (Path(folder) / closed).chmod(0)
        user = os.geteuid()
        try:
            os.seteuid(user or 65534)
            with pytest.raises(InputError, match=r"a\.mp4: .*Permission denied"):
                open_input(str(path))
        finally:
            os.seteuid(user)
            Path(folder).chmod(0o755)


def test_names_longer_than_any_file_system_has(tmp_path: Path) -> None:
    name = str(tmp_path / ("a" * 300 + ".mp4"))
    clip = str(Clip().write(tmp_path / "a.mp4"))
    for words, code in (((name, "out.mp4"), 3), ((clip, name), 4)):
        done = subprocess.run((*PYTHON, *words), capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert (done.returncode, done.stderr) == (code, f"vsr-run: {name}: File name too long\n")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_what_is_not_encrypted_is_not_called_so(tmp_path: Path, suffix: str) -> None:
    path = Clip(codec="mpeg4").write(tmp_path / f"a.{suffix}")
    assert not is_encrypted(str(path))
    assert not lacks_index(str(path))


@pytest.mark.parametrize(
    "name",
    [
        "androidx_sample_fragmented_clearkey.mp4",
        "androidx_sample_av1c_fragmented_clearkey.mp4",
        "mp4parse_av1-clearkey-cbcs-video.mp4",
        "mp4parse_bipbop_cbcs_video_init.mp4",
        "nemo_subsample_encrypted_altref.webm",
    ],
)
def test_real_encrypted_files(data: Path, name: str) -> None:
    path = str(data / "video/broken" / name)
    with pytest.raises(InputError, match="encrypted"), open_input(path) as container:
        video_stream(container, path)


SCRIPTS = {
    "a playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n",
    "a playlist of a whole path": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{folder}/clip.ts\n#EXT-X-ENDLIST\n",
    "a concat script": "ffconcat version 1.0\nfile clip.ts\n",
    "a concat script of a whole path": "ffconcat version 1.0\nfile {folder}/clip.ts\n",
    "a session description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "a manifest": '<?xml version="1.0"?><MPD><Period><BaseURL>clip.ts</BaseURL></Period></MPD>',
}


@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ts", "sdp", "mpd", "ffconcat"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_open_no_other_file(tmp_path: Path, script: str, suffix: str) -> None:
    Clip().write(tmp_path / "clip.ts")
    path = tmp_path / f"in.{suffix}"
    path.write_text(SCRIPTS[script].format(folder=tmp_path))
    with pytest.raises(InputError, match="can't be read as video"):
        open_input(str(path))


@pytest.mark.parametrize(
    "prefix", ["concat:", "subfile,,start,0,end,0,,:", "async:", "crypto:", "file:", "data:video/mp4;base64,", "pipe:0"]
)
def test_prefixes_are_part_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.chdir(tmp_path)
    Clip(pts=range(3)).write(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="no such file"):
        open_input(f"{prefix}clip.mp4")
    Path("clip.mp4").rename(f"{prefix.replace('/', '')}clip.mp4")
    with open_input(f"{prefix.replace('/', '')}clip.mp4") as container:
        assert container.streams.video[0].width == 48
