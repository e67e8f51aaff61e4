"""vsr-live as a user starts it on windows and screens, on an X server of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from screens import Painted, until, xvfb

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with xvfb("640x480") as name:
        yield name


def started(screen: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vsr.cli.live", *words]
    pipes = subprocess.PIPE
    return subprocess.Popen(
        command, env={**os.environ, "DISPLAY": screen}, cwd=ROOT, stdout=pipes, stderr=pipes, text=True
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--window", "nothing"], 3, "no window's title fits 'nothing'"),
        (["--window", "("], 2, "no regular expression"),
        (["--window", "0x7"], 3, "there is no window 0x7"),
        (["--screen", "full"], 2, "a region is WIDTHxHEIGHT+X+Y"),
        (["--screen", "700x480"], 3, "700x480+0+0 reaches beyond the screen, which is 640x480"),
        (["srt://host:1"], 2, "no streams by srt://"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(screen: str, words: list[str], code: int, said: str) -> None:
    done = started(screen, *words)
    _, errors = done.communicate(timeout=60)
    assert done.returncode == code
    assert said in errors
    assert errors.startswith("vsr-live: ")
    assert errors.count("\n") == 1


def test_without_a_server_the_rest_is_listed() -> None:
    pytest.importorskip("xcffib")
    out, _ = started("", "--list").communicate(timeout=60)
    assert "no windows: no X server to capture from: DISPLAY is not set" in out
    assert "--device" in out


def test_windows_are_listed(screen: str) -> None:
    window = Painted(screen, "a game", "red", (0, 0, 64, 48))
    out, _ = started(screen, "--list").communicate(timeout=60)
    assert f"0x{window.id:07x}" in out
    assert '64x48  "a game"' in out
    window.close()


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--window", "a game"], ["--screen", "64x48+10+20"]])
@pytest.mark.parametrize("grab", ["x11grab", "mss"])
def test_what_is_captured_is_upscaled(screen: str, words: list[str], grab: str, tmp_path: Path) -> None:
    window, stats = Painted(screen, "a game", "red", (10, 20, 64, 48)), tmp_path / "stats.jsonl"
    asked = [*words, "--grab", grab, "--sink", "null", "--network", "m4c8", "--fixed", "--stats", str(stats)]
    run = started(screen, *asked)

    def frames() -> int:
        window.fill(0x00FF00 if int(time.monotonic() * 20) % 2 else 0x0000FF, 0, 0, 32, 32)
        lines = stats.read_text().splitlines() if stats.is_file() else []
        return sum(json.loads(line)["kind"] == "frame" for line in lines[:-1])

    until(lambda: run.poll() is not None or frames() > 5, 60)
    if words[0] == "--window":
        window.close()
    else:
        run.terminate()
    _, errors = run.communicate(timeout=60)
    assert run.returncode == (0 if words[0] == "--window" else 143)
    assert "64x48" in errors.splitlines()[0]
    assert words[0] == "--screen" or 'window "a game" 64x48 was closed' in errors
    if words[0] == "--screen":
        window.close()
