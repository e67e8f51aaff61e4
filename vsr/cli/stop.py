"""What SIGINT, SIGTERM and SIGHUP do to a run."""

from __future__ import annotations

import os
import signal

from vsr.errors import Interrupted

SIGNALS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}


class Stop:
    """What a signal does: the first ends the run in order, a second one at once.

    Args:
        ask: the first is only remembered, for the run to ask after every frame, instead of raised as Interrupted.
        program: which says that it stops.
    """

    def __init__(self, *, ask: bool, program: str = "vsr-run") -> None:
        self._ask, self._number, self._program = ask, 0, program

    def __call__(self) -> int:
        """The signal heard, 0 for none."""
        return self._number

    def heard(self, number: int, _frame: object) -> None:
        if self._number:
            os.write(2, f"{self._program}: stopped at once\n".encode())
            os._exit(128 + number)
        self._number = number
        if not self._ask:
            raise Interrupted(SIGNALS[signal.Signals(number).name], signum=number)

    def listen(self) -> None:
        """Takes the signals that this platform has: Windows has no SIGHUP."""
        for name in SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self.heard)
