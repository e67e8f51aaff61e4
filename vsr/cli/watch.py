"""A line on the terminal while something is measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watched(name: str, noun: str = "picture") -> Iterator[Callable[[], None]]:
    """Gives what is to be called after each picture; the line goes when it is left, and nobody sees it in a file."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        status.update(text=f"{name}: {noun} {done}")

    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    status = Spinner("line", text=name)
    with Live(status, console=Console(stderr=True), transient=True, redirect_stdout=False):
        yield step
