"""Milliseconds a frame of several ways to do the same, interleaved, so that whatever disturbs one disturbs all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROUNDS = 5
MOST = 20_000  # frames of a round

Run = Callable[[int], None]  # does so many frames; all of them are finished when it returns


def interleaved(ways: Mapping[str, Run], seconds: float, rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Rounds of every way in turn, `seconds` of each way in all; the median counts."""
    counts = {name: _frames(run, seconds / rounds) for name, run in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            taken[name].append(1000 * _seconds(run, counts[name]) / counts[name])
    return {name: summary(times) for name, times in taken.items()}


def summary(times: Sequence[float]) -> dict[str, Any]:
    """Median, 95th percentile and all `times`, milliseconds."""
    middle = statistics.median(times)
    return {
        "ms": round(middle, 4),
        "fps": round(1000 / middle, 1),
        "ms_p95": round(percentile(times, 95), 4),
        "ms_all": [round(value, 4) for value in times],
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _frames(run: Run, seconds: float) -> int:
    """How many frames fill `seconds`, after warming up."""
    run(2)
    frames = 4
    while (taken := _seconds(run, frames)) < seconds / 4 and frames < MOST:
        frames *= 4
    return max(1, min(MOST, round(frames * seconds / taken)))


def _seconds(run: Run, frames: int) -> float:
    begin = time.perf_counter()
    run(frames)
    return time.perf_counter() - begin
