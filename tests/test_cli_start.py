"""The command line answers before anything heavy is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("av", "cv2", "numpy", "onnx", "openvino", "torch")
LIGHT = (
    "vsr",
    "vsr.errors",
    "vsr.settings",
    "vsr.networks",
    "vsr.cli.run",
    "vsr.cli.options",
    "vsr.cli.stop",
    "vsr.cli.doctor",
    "vsr.cli.plugin",
    "vsr.cli.plan",
    "vsr.cli.live",
    "vsr.cli.bench",
)
COMMANDS = ("run", "train", "eval", "doctor", "live", "plan", "bench")
SECONDS = 0.3 if "CI" in os.environ else 0.15  # the promise is 0.15; shared CI machines are slow and busy
TRIES = 20


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("module", LIGHT)
def test_nothing_heavy_is_imported(module: str) -> None:
    shown = python("-c", f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))")
    assert (shown.stdout.strip(), shown.stderr) == ("", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_there_and_loads_nothing_heavy(command: str) -> None:
    heavy = f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    code = f"import atexit, sys; atexit.register(lambda: {heavy}); sys.argv = ['vsr-{command}', '--help']; "
    code += f"from vsr.cli.{command} import main; main()"
    shown = python("-c", code)
    assert shown.returncode == 0
    assert f"vsr-{command}" in shown.stdout
    assert shown.stderr.strip() == ""


@pytest.mark.parametrize("command", ["run", "live", "bench"])
def test_help_is_fast(command: str) -> None:
    program = Path(sys.executable).with_name(f"vsr-{command}")
    if not program.exists():
        pytest.skip("vsr is not installed; `make setup` does that")
    taken = [seconds_to_help(program)]
    while min(taken) >= SECONDS and len(taken) < TRIES:  # the quickest is the program's, the rest is the machine's
        taken.append(seconds_to_help(program))
    assert min(taken) < SECONDS, [f"{seconds:.3f}" for seconds in taken]


def seconds_to_help(program: Path) -> float:
    start = time.perf_counter()
    subprocess.run([program, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start
