"""Inputs that ask for too much or for what isn't decoded: refused in one line, at once, with little memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from clips import Clip
from vsr.decode import pictures
from vsr.demux import READ_ERRORS, open_input, packets, video_stream
from vsr.errors import InputError, UsageError
from vsr.limits import DECODERS, LIMITS, PADDING, STREAMS, opening
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import Limits, RunSettings

MEASURED = (  # VmHWM: ru_maxrss begins with what the parent had
    "import json, sys; from vsr.cli.run import main; code = main(sys.argv[1:]);"
    "print(json.dumps([code, int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024]))"
)
BOMB_MIB = 200


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bomb") / "bomb.mp4"
    path.write_bytes(gzip.decompress(Path(__file__).with_name("bomb.mp4.gz").read_bytes()))
    return path


def copied(source: Path, target: Path, format: str | None = None) -> Path:
    """The video track in another container; nothing is decoded."""
    with (
        av.open(str(source), options={"codec_whitelist": "none"}) as given,
        av.open(str(target), "w", format=format) as made,
    ):
        stream = given.streams.video[0]
        track: Any = made.add_stream_from_template(stream, opaque=True)
        for packet in given.demux(stream):
            if packet.size:
                packet.stream = track
                made.mux(packet)
    return target


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "264"])
def test_a_bomb_is_refused_with_little_memory(bomb: Path, tmp_path: Path, suffix: str) -> None:
    """16000x16000 in 750 KB; opening it as FFmpeg likes to would take 618 MB, decoding it 1.1 GB."""
    path = bomb if suffix == "mp4" else copied(bomb, tmp_path / f"bomb.{suffix}", "h264" if suffix == "264" else None)
    begin = time.monotonic()
    words = (sys.executable, "-c", MEASURED, str(path), str(tmp_path / "out.mp4"))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    code, mebibytes = json.loads(done.stdout)
    assert code == 3
    assert done.stderr.splitlines()[-1] == (
        f"vsr-run: {path}: 16000x16000 is over the limit of 67.1 million pixels (--max-pixels raises it)"
    )
    assert mebibytes < BOMB_MIB
    assert time.monotonic() - begin < 20
    assert not (tmp_path / "out.mp4").exists()


def probed(path: Path, scale: int, max_pixels: int, **options: Any) -> Any:
    return probe(RunSettings.of(input=str(path), output="", sink="null", scale=scale, max_pixels=max_pixels, **options))


def test_the_limit_can_be_moved(tmp_path: Path) -> None:
    path = Clip(size=(48, 32)).write(tmp_path / "a.mp4")
    assert probed(path, 2, 48 * 32).source.limits.max_pixels == 48 * 32
    with pytest.raises(InputError, match=r"48x32 is over the limit of .* \(--max-pixels raises it\)"):
        probed(path, 2, 48 * 32 - 1)
    for wrong in (0, -1, 2**31):
        with pytest.raises(UsageError, match="--max-pixels"):
            probed(path, 2, wrong)


def test_the_result_has_a_limit_too(tmp_path: Path) -> None:
    path = Clip(size=(48, 32)).write(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="144x96 is over the limit of"):
        probed(path, 3, 48 * 32)
    assert probed(path, 4, 4 * 48 * 32).source.limits.max_pixels == 48 * 32  # so that no later picture exceeds it


def test_a_picture_that_grows_midway_is_skipped_and_counted(tmp_path: Path) -> None:
    """The decoder has the limit, not only the opening."""
    small, large = (Clip(size=size).write(tmp_path / f"{size[0]}.ts") for size in ((48, 32), (480, 320)))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    report = Report()
    with open_input(str(both), Limits(max_pixels=50 * 50)) as container:
        stream = video_stream(container, str(both), Limits(max_pixels=50 * 50))
        sizes = {picture.width for picture in pictures(stream, packets(container, [stream], report), report)}
    assert sizes == {48}
    assert report.damaged_packets >= 12


def test_piped_pictures_have_the_limit(tmp_path: Path) -> None:
    words = (sys.executable, "-c", "import sys; from vsr.cli.run import main; sys.exit(main())", "-", "out.mp4")
    header = b"YUV4MPEG2 W99999 H99999 F25:1 C420jpeg\nFRAME\n"
    done = subprocess.run(words, input=header, capture_output=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 3
    assert done.stderr.startswith(b"vsr-run: standard input: 99999x99999 is over the limit")


@pytest.mark.parametrize(("codec", "pix_fmt"), [("magicyuv", "yuv444p"), ("zlib", "bgr24")])
def test_rare_decoders_are_refused_by_name(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    path = Clip(codec=codec, pix_fmt=pix_fmt).write(tmp_path / "a.nut")
    with open_input(str(path)) as container, pytest.raises(InputError, match=f"track 0 is {codec}, which vsr doesn't"):
        video_stream(container, str(path))


def test_rare_decoders_are_refused_by_the_decoder_too(tmp_path: Path) -> None:
    """An allow-list given only at opening would still decode every packet."""
    path = Clip(codec="magicyuv", pix_fmt="yuv444p").write(tmp_path / "a.nut")
    with open_input(str(path)) as container:
        stream = container.streams.video[0]
        with pytest.raises(READ_ERRORS):
            stream.codec_context.decode(next(container.demux(stream)))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).width == 48


def test_every_decoder_on_the_list_exists() -> None:
    assert av.codecs_available >= DECODERS


def test_too_many_tracks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.mkv"
    with av.open(str(path), "w") as target:
        picture = target.add_stream("ffv1", rate=25)
        picture.width, picture.height, picture.pix_fmt = 16, 16, "gray"
        for number in range(STREAMS):
            target.add_attachment(f"{number}.ttf", "font/ttf", b"font")
        frame = av.VideoFrame(16, 16, "gray")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        target.mux(picture.encode(frame))
    with pytest.raises(InputError, match="more than 256 tracks and attachments"):
        open_input(str(path))


def test_limits_say_what_binds_where() -> None:
    options = opening(replace(LIMITS, max_pixels=800))
    assert (options["protocol_whitelist"], options["max_pixels"]) == ("file", str(900 + PADDING))
    assert "hls" not in options["format_whitelist"]
    assert "concat" not in options["format_whitelist"]
