"""One JSON file, written after every part, so that whatever ends the run loses nothing that was measured."""

from __future__ import annotations

import json
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

AGAIN = 10  # seconds after which an error that a library swallowed is raised once more


class OutOfTimeError(TimeoutError):
    """A part took longer than it may."""


class Results:
    """What is known so far; a part that fails is entered with the error's text, and the next one runs.

    Args:
        path: of the file; its folder is made.
        facts: about machine and run, entered first.
        seconds: for all parts together; a part may take what is left of them, and no more than its own limit.
    """

    def __init__(self, path: Path, facts: dict[str, Any], seconds: float) -> None:
        self.path, self.content = path, {**facts, "parts": {}, "errors": {}}
        self._end = time.monotonic() + seconds
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def part(self, name: str, work: Callable[[dict[str, Any]], object], limit: float) -> None:
        """Runs `work`, which enters what it finds as it goes, into the dictionary that it is given."""
        found: dict[str, Any] = self.content["parts"].setdefault(name, {})
        begin, limit = time.monotonic(), min(limit, self.left)
        print(f"{name}: up to {max(0, limit):.0f} s", flush=True)
        try:
            if limit <= 0:
                raise OutOfTimeError("no time was left")
            _within(limit, lambda: work(found))
        except Exception as error:  # noqa: BLE001  # on a machine rented for minutes the other parts must still run
            print(f"{name} failed: {type(error).__name__}: {error}", flush=True)
            self.content["errors"][name] = "".join(traceback.format_exception(error)).strip()[-4000:]
        found["seconds"] = round(time.monotonic() - begin, 2)
        self.write()

    def write(self) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.content, indent=1) + "\n")
        partial.replace(self.path)


def _within(seconds: float, work: Callable[[], object]) -> None:
    """Raises OutOfTimeError inside `work` when it takes longer, as soon as Python runs there."""

    def expired(number: int, frame: object) -> None:
        raise OutOfTimeError(f"stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
