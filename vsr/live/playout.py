"""When a frame of a live stream is due: networks deliver in bursts what was captured evenly.

A playout delay as long as frames have lately come late, and no longer than `MOST`: who waits for a burst's last frame
shows all of it. Sound waits in the same line.
"""

from __future__ import annotations

from collections import deque
from threading import Lock

MOST = 0.3  # seconds a frame may be held
WINDOW = 10.0  # seconds for which it is remembered how late a frame came
FASTER = 0.1  # by which time passes quicker while the delay shrinks


class Playout:
    """Times in seconds; `came` is for the thread that receives, `wait` for the one that hands on."""

    def __init__(self) -> None:
        self._came: deque[tuple[float, float]] = deque()  # when, and how much later than its own time
        self._lock = Lock()
        self._offset: float | None = None  # release time less a frame's own
        self._asked = 0.0

    def came(self, stamp: float, now: float) -> None:
        """A frame of presentation time `stamp` is here."""
        with self._lock:
            self._came.append((now, now - stamp))
            while self._came[0][0] < now - WINDOW:
                self._came.popleft()

    def wait(self, stamp: float, now: float) -> float:
        """Seconds until the frame is due; 0 for one that is late."""
        with self._lock:
            late = [seconds for _, seconds in self._came]
        if not late:
            return 0.0
        most = min(late) + MOST
        target = min(max(late), most)
        if self._offset is not None and target < self._offset:
            target = min(max(target, self._offset - FASTER * (now - self._asked)), most)
        self._offset, self._asked = target, now
        return max(0.0, target + stamp - now)
