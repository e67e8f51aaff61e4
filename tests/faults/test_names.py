"""Names of files and of what is in them: whatever the file system holds, read and written under just that name."""

from __future__ import annotations

import os
from pathlib import Path

import av
import pytest

from clips import Clip, Sound, video
from vsr.cli.run import main
from vsr.demux import open_input
from vsr.pipeline import upscale

NAMES = {
    "colon": "a:b",
    "scheme": "http:x",
    "file": "file:a",
    "percent": "100%d",
    "padded number": "a%03d",
    "dash": "-x",
    "dashes": "--help",
    "space": " a b ",
    "newline": "a\nb",
    "quotes": 'it\'s "a"',
    "backslash": "a\\b",
    "unicode": "ünï codé \N{GRINNING FACE}",
    "not UTF-8": os.fsdecode(b"\xff\xfe"),
    "control": "a\x07\x1b[31m",
    "star": "*?[a]",
    "dots": "..a..",
    "reserved elsewhere": "CON",
    "200": "n" * 196,
    "255": "n" * 251,
}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_in_and_out(
    tmp_path: Path, repeat: dict[int, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Relative, so that the name is all there is; "--" ends the options as everywhere."""
    clip = Clip(pts=range(5), sounds=[Sound()]).write(tmp_path / "clip.mp4")
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    given = clip.rename(tmp_path / "in" / f"{NAMES[name]}.mp4")
    monkeypatch.chdir(tmp_path / "in")
    model = ("--model", str(repeat[2]), "--precision", "float32", "--quiet")
    assert main([*model, "--", given.name, f"../out/{given.name}"]) == 0
    monkeypatch.chdir(tmp_path / "out")
    assert os.listdir() == [given.name]  # noqa: PTH208
    assert len(video(f"file:{given.name}").times) == 5
    assert main([*model, "--overwrite", "--", str(given), given.name]) == 0
    assert os.listdir() == [given.name]  # noqa: PTH208


def test_tags_of_any_bytes(tmp_path: Path, repeat: dict[int, Path]) -> None:
    """A title that isn't UTF-8, in the source's own bytes."""
    path = Clip(pts=range(5), metadata={"title": "ABCDEFGH"}).write(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes().replace(b"ABCDEFGH", b"A\xff\xfe\n\x80\xf0DE"))
    with open_input(str(path)) as container:
        assert container.metadata["title"].startswith("A")
    for suffix in ("mkv", "mp4"):
        report = upscale(path, tmp_path / f"out.{suffix}", model=repeat[2], precision="float32")
        assert report.frames_written == 5
        with av.open(str(tmp_path / f"out.{suffix}"), metadata_errors="replace") as container:
            assert container.metadata["title"].startswith("A")
