"""What a live run counts: frames a second, percentiles of added latency by stage, drops; and its log as JSON lines."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import ceil, exp, log
from pathlib import Path
from typing import Any, TextIO

from vsr.errors import OutputError
from vsr.live.protocol import Snapshot, Spread
from vsr.report import Clock

SECONDS = 2.0  # that a snapshot looks back on
STEP = 0.01  # relative width of a class of latencies, of which a whole run's are kept
RATES = ("captured", "new", "shown")
STAGES = ("wait", "upscale", "show")  # from pixels in memory: to the network's begin, its end, the sink's
TOTAL = "total"


class Meter:
    """Counts; from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._begun = clock, clock()
        self._lock = threading.Lock()
        self._recent: dict[str, deque[tuple[float, float]]] = {name: deque() for name in (*RATES, *STAGES, TOTAL)}
        self._classes: dict[str, Counter[int]] = {name: Counter() for name in (*STAGES, TOTAL)}
        self.counts: Counter[str] = Counter()

    def count(self, name: str, number: int = 1) -> None:
        """Adds to one of `RATES`, or to any other count: what was dropped, and where."""
        with self._lock:
            self.counts[name] += number
            if name in RATES:
                self._recent[name].append((self._clock(), 0.0))

    def took(self, stage: str, seconds: float) -> None:
        """Of one new frame, in one of `STAGES` or `TOTAL`."""
        with self._lock:
            self._recent[stage].append((self._clock(), 1000 * seconds))
            self._classes[stage][round(log(max(1000 * seconds, 1e-3)) / STEP)] += 1

    @property
    def dropped(self) -> int:
        return sum(number for name, number in self.counts.items() if name.startswith("dropped"))

    def snapshot(self, rung: str, every: int, decision: str) -> Snapshot:
        """Of the last seconds."""
        with self._lock:
            now = self._clock()
            for events in self._recent.values():
                while events and events[0][0] <= now - SECONDS:
                    events.popleft()
            over = max(min(SECONDS, now - self._begun), 1e-3)
            rates = {name: round(len(self._recent[name]) / over, 2) for name in RATES}
            spreads = {name: spread(value for _, value in self._recent[name]) for name in (*STAGES, TOTAL)}
        return Snapshot(
            captured=rates["captured"],
            new=rates["new"],
            shown=rates["shown"],
            latency=spreads[TOTAL],
            stages={stage: spreads[stage] for stage in STAGES},
            rung=rung,
            every=every,
            dropped=self.dropped,
            decision=decision,
        )

    def whole(self) -> dict[str, Spread]:
        """Latencies of the whole run, to 1%."""
        with self._lock:
            return {
                name: spread(exp(place * STEP) for place in classes.elements())
                for name, classes in self._classes.items()
            }

    def seconds(self) -> float:
        return self._clock() - self._begun


def spread(milliseconds: Iterable[float]) -> Spread:
    """Percentiles by nearest rank; zeros of nothing."""
    ranked = sorted(milliseconds) or [0.0]
    p50, p95, p99 = (round(ranked[ceil(share * len(ranked)) - 1], 3) for share in (0.5, 0.95, 0.99))
    return Spread(p50, p95, p99)


class Log:
    """JSON lines into a file; without a path nothing is written. From any thread.

    Raises:
        OutputError: the file can't be written, now or later.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._file: TextIO | None = None
        if path is not None:
            try:
                self._file = path.open("w", buffering=1)
            except OSError as error:
                raise OutputError(f"{path}: can't be written ({error.strerror})") from error

    def __call__(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(json.dumps(line) + "\n")
            except OSError as error:
                broken, self._file = self._file, None
                with suppress(OSError):  # the same once more
                    broken.close()
                raise OutputError(f"{self._path}: can't be written ({error.strerror})") from error

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def resident() -> int:
    """Bytes of memory this process occupies; 0 where the system doesn't tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
