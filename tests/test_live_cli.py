"""vsr-live as a program: what it says, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

from claps import clapper
from vsr.live.controller import recorded, replay

NO_DISPLAY = {name: value for name, value in os.environ.items() if name != "DISPLAY"}


def started(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vsr.cli.live", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=NO_DISPLAY)


def ran(*words: str) -> tuple[int, bytes, str]:
    process = started(*words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.decode()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    clapper(path, 3)
    return path


def test_no_words_say_what_to_do() -> None:
    code, out, err = ran()
    assert (code, out) == (2, b"")
    assert "vsr-live --list" in err
    assert "vsr-live --window Doom" in err


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--list", "--window"], 2, "--window: expected one argument"),
        (["a.mp4", "--window", "b"], 2, "window and input given"),
        (["a.mp4", "--rate", "30"], 2, "--rate is for windows, screens and devices"),
        (["a.mp4", "--budget", "0"], 2, "--budget must be above 0"),
        (["nowhere.mp4", "--sink", "null"], 3, "nowhere.mp4: no such file"),
        (["--window", "Doom", "--sink", "null"], 3, "DISPLAY is not set"),
        (["--device", "/dev/video97", "--sink", "null"], 3, "/dev/video97: no such device"),
    ],
)
def test_what_cant_be_meant_is_one_line(words: list[str], code: int, line: str) -> None:
    got, _, err = ran(*words)
    assert (got, line in err, err.count("\n")) == (code, True, 1), err


def test_a_file_is_recorded_and_its_log_replays(clip: Path, tmp_path: Path) -> None:
    out, stats = tmp_path / "out.mkv", tmp_path / "run.jsonl"
    code, _, err = ran(str(clip), "--network", "m4c8", "--sink", str(out), "--stats", str(stats))
    assert code == 0, err
    with av.open(str(out)) as written:
        video = written.streams.video[0]
        assert (video.width, video.height, len(written.streams.audio)) == (128, 96, 1)
        assert sum(1 for _ in written.decode(video)) == 90
    lines: list[dict[str, Any]] = [json.loads(line) for line in stats.read_text().splitlines()]
    assert {"rungs", "frame", "second"} <= {line["kind"] for line in lines}
    assert replay(lines) == recorded(lines)
    assert "shown of 90 captured" in err
    assert ran(str(clip), "--sink", str(out))[0] == 4


def test_y4m_goes_into_a_pipe_and_an_interruption_ends_in_order(clip: Path) -> None:
    process = started(str(clip), "--network", "m4c8", "--fixed", "--sink", "y4m")
    assert process.stdout is not None
    head = process.stdout.read(4096)
    assert head.startswith(b"YUV4MPEG2 W128 H96 F30:1")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "captured in" in err.decode()
    assert "Traceback" not in err.decode()
