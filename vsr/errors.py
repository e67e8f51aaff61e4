"""Every error vsr raises on purpose, and the exit code each one means.

    VsrError                    1
    ├── UsageError              2    also ValueError
    ├── InputError              3    also ValueError
    ├── OutputError             4    also OSError
    ├── MemoryLimitError        6    also MemoryError
    ├── VerificationError       7
    ├── SurfaceError            1
    ├── Unavailable             1    for `vsr-doctor`
    └── Interrupted             130 or 143

Exit code 5 (finished, but the input was damaged) is no error: it is `Report.exit_code` of a run that wrote its file.
A message is one line: what was given, what is allowed, what to do.
"""

from __future__ import annotations


class VsrError(Exception):
    """Base of all; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(VsrError, ValueError):
    """An option, a combination of options or an argument that can't be meant."""

    exit_code = 2


class InputError(VsrError, ValueError):
    """Input that is unreadable, unsupported or over a limit."""

    exit_code = 3


class OutputError(VsrError, OSError):
    """Output that can't be written: folder, permission, full disk, codec that the container can't hold."""

    exit_code = 4


class MemoryLimitError(VsrError, MemoryError):
    """No tile is small enough for the memory allowed."""

    exit_code = 6


class VerificationError(VsrError):
    """The finished file, read back, differs from what the job promised."""

    exit_code = 7


class SurfaceError(VsrError):
    """A picture that stayed on a GPU is lost with it; nothing was written in its place."""


class Unavailable(VsrError):
    """This machine or installation doesn't have the thing, which is nobody's fault."""


class Interrupted(VsrError):
    """SIGINT or SIGTERM arrived.

    Args:
        message: what was left on disk.
        signum: the signal's number; the exit code is 128 + signum.
    """

    def __init__(self, message: str, *, signum: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum
