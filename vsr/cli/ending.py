"""How a program ends: what goes wrong is one line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from vsr.errors import InputError, Interrupted, MemoryLimitError, OutputError, VsrError


def ended(program: str, do: Callable[[], int | None]) -> int:
    """The exit code: what `do` returns, 0 for None, or that of the error that ended it, which is printed."""
    try:
        code = do() or 0
        sys.stdout.flush()
        return code
    except VsrError as error:
        line, code = str(error), error.exit_code
    except MemoryError:
        line, code = "out of memory", MemoryLimitError.exit_code
    except OSError as error:  # a name too long, a pipe that nobody reads
        if isinstance(error, BrokenPipeError):  # Python would complain once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        line = f"{error.filename or 'standard output'}: {error.strerror or error}"
        code = InputError.exit_code if error.filename else OutputError.exit_code
    except KeyboardInterrupt:
        line, code = "interrupted", Interrupted("interrupted").exit_code
    print(f"{program}: {line}", file=sys.stderr)
    return code
