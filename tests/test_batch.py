"""A folder in, a folder out: everything inside once, whatever fails."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vsr.batch import run_folder
from vsr.errors import InputError, Interrupted, MemoryLimitError, OutputError, UsageError, VsrError
from vsr.settings import RunSettings


@dataclass
class Upscaler:
    """Writes a file for each input, or fails as told by its name."""

    failing: dict[str, VsrError | int] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    complained: list[str] = field(default_factory=list)

    def one(self, settings: RunSettings) -> int:
        name = Path(settings.input).name
        self.seen.append((name, Path(settings.output).name))
        fate = self.failing.get(name, 0)
        if isinstance(fate, VsrError):
            raise fate
        Path(settings.output).write_bytes(b"done")
        return fate

    def run(self, source: Path, target: Path, *, overwrite: bool = False) -> int:
        settings = RunSettings(input=str(source), output=str(target), overwrite=overwrite)
        return run_folder(settings, self.one, self.said.append, self.complained.append)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    (source / "deeper.mp4").mkdir(parents=True)
    for name in ("b.mp4", "a.MKV", "c.avi", "d.png", ".hidden.mp4", "notes.txt", "e.webm"):
        (source / name).write_bytes(b"x")
    return source


def test_videos_and_pictures_in_order(folder: Path, tmp_path: Path) -> None:
    upscaler = Upscaler()
    assert upscaler.run(folder, tmp_path / "new" / "out") == 0
    pairs = [("a.MKV", "a.MKV"), ("b.mp4", "b.mp4"), ("c.avi", "c.avi.mkv"), ("d.png", "d.png"), ("e.webm", "e.webm")]
    assert upscaler.seen == pairs
    assert upscaler.said[0] == f"[1/5] a.MKV -> {tmp_path / 'new' / 'out' / 'a.MKV'}"
    assert upscaler.said[-1] == "5 done, 0 there already, 0 failed"
    assert upscaler.complained == []


def test_what_is_there_is_skipped_or_replaced(folder: Path, tmp_path: Path) -> None:
    assert Upscaler().run(folder, tmp_path / "out") == 0
    (tmp_path / "out" / "c.avi.mkv").unlink()
    again = Upscaler()
    assert again.run(folder, tmp_path / "out") == 0
    assert again.seen == [("c.avi", "c.avi.mkv")]
    assert again.said[-1] == "1 done, 4 there already, 0 failed"
    over = Upscaler()
    over.run(folder, tmp_path / "out", overwrite=True)
    assert len(over.seen) == 5


@pytest.mark.parametrize(
    ("failing", "code"),
    [
        ({"b.mp4": InputError("bad")}, 3),
        ({"b.mp4": MemoryLimitError("much"), "e.webm": InputError("bad")}, 6),
        ({"b.mp4": 5}, 5),
        ({"a.MKV": 5, "e.webm": OutputError("full")}, 4),
    ],
)
def test_a_failure_stops_nothing_and_is_the_exit_code(
    folder: Path, tmp_path: Path, failing: dict[str, VsrError | int], code: int
) -> None:
    upscaler = Upscaler(failing)
    assert upscaler.run(folder, tmp_path / "out") == code
    assert len(upscaler.seen) == 5
    failures = [f"failed: {fate}" for fate in failing.values() if isinstance(fate, VsrError)]
    assert sorted(upscaler.complained) == sorted(failures)
    assert upscaler.said[-1] == f"{5 - len(failures)} done, 0 there already, {len(failures)} failed"


def test_a_signal_stops_it(folder: Path, tmp_path: Path) -> None:
    upscaler = Upscaler({"b.mp4": Interrupted("terminated", signum=signal.SIGTERM)})
    with pytest.raises(Interrupted):
        upscaler.run(folder, tmp_path / "out")
    assert [name for name, _ in upscaler.seen] == ["a.MKV", "b.mp4"]


def refused(source: Path, target: Path, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        Upscaler().run(source, target)


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(folder)
    refused(tmp_path / "empty", tmp_path / "out", UsageError, "no videos or pictures inside")
    refused(folder, folder, OutputError, "is the input folder; choose another")
    refused(folder, tmp_path / "link", OutputError, "is the input folder")
    refused(folder, tmp_path / "file", OutputError, "a folder goes to a folder")
    refused(folder, tmp_path / "file" / "out", OutputError, "can't make this folder")
    say: Callable[[str], None] = print
    with pytest.raises(UsageError, match="a folder goes to a folder"):
        run_folder(RunSettings(input=str(folder), output="", sink="null"), Upscaler().one, say, say)


def test_really(tmp_path: Path, repeat: dict[int, Path]) -> None:
    import json

    import cv2
    import numpy as np

    from clips import Clip, frames
    from vsr.cli.run import main

    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    Clip(pts=range(5)).write(source / "a.mp4")
    (source / "b.mp4").write_bytes(b"no video")
    Clip(codec="mpeg4", pts=range(5)).write(source / "c.avi")
    cv2.imwrite(str(source / "d.png"), np.zeros((9, 8), np.uint8))
    report = tmp_path / "report.json"
    words = [str(source), str(target), "--model", str(repeat[2]), "--quiet", "--report", str(report)]
    assert main(words) == 3
    assert sorted(path.name for path in target.iterdir()) == ["a.mp4", "c.avi.mkv", "d.png"]
    assert len(frames(target / "a.mp4")) == len(frames(target / "c.avi.mkv")) == 5
    assert [Path(one["output"]).name for one in json.loads(report.read_text())] == ["a.mp4", "c.avi.mkv", "d.png"]
