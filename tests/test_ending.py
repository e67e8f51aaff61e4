"""Programs end with one line and the right exit code, whatever ended them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from vsr.cli.ending import ended
from vsr.errors import UsageError


def raising(error: BaseException) -> Callable[[], int]:
    def do() -> int:
        raise error

    return do


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("say what"), 2, "say what"),
        (FileNotFoundError(2, "No such file or directory", "a.mp4"), 3, "a.mp4: No such file or directory"),
        (OSError(28, "No space left on device"), 4, "standard output: No space left on device"),
        (MemoryError("17 TiB"), 6, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_is_a_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("vsr-x", raising(error)) == code
    assert capsys.readouterr().err == f"vsr-x: {line}\n"


def test_what_is_returned_is_the_code() -> None:
    assert (ended("vsr-x", lambda: 5), ended("vsr-x", lambda: None)) == (5, 0)


def test_a_pipe_that_nobody_reads() -> None:
    program = "import sys; from vsr.cli.ending import ended; sys.exit(ended('vsr-x', lambda: print('row')))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (4, "vsr-x: standard output: Broken pipe\n")
