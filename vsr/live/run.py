"""A live run from its settings, with its summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vsr.graph import FrameSpec
from vsr.live.controller import Control
from vsr.live.ladder import Ladder
from vsr.live.loop import OLDEST, Loop
from vsr.live.protocol import RATE, Sink, Source
from vsr.live.stage import LiveStage
from vsr.live.stats import TOTAL, Log, Meter
from vsr.report import Clock, counted
from vsr.settings import LiveSettings


@dataclass(frozen=True)
class Ends:
    """What a run stands between; both are closed by it."""

    source: Source
    sink: Sink


def run(
    settings: LiveSettings,
    ends: Ends,
    *,
    stats: Path | None = None,
    say: Callable[[str], None],
    stop: Callable[[], int] = lambda: 0,
    clock: Clock = time.monotonic,
) -> None:
    """Until the source ends or somebody ends it; the summary is said in any case.

    Args:
        stats: takes rungs, frames, decisions and figures of every second, as JSON lines.
        say: takes a line for the user.
        stop: a signal's number, or 0 to go on.

    Raises:
        UsageError, InputError, OutputError, MemoryLimitError, Interrupted: what ended it.
    """
    meter, log = Meter(clock), Log(stats)

    def ladder(spec: FrameSpec) -> Ladder:
        return Ladder(settings.engine, spec, fixed=settings.fixed, say=say)

    budget = settings.budget or float(1 / (ends.source.rate or RATE))
    control = None if settings.fixed else Control()
    waiting = OLDEST[ends.sink.policy]
    longest = settings.budget or max(budget, float(1 / RATE))  # also where few frames are new
    stage = LiveStage(
        ladder, budget, control, longest=longest, waiting=waiting, meter=meter, log=log, say=say, clock=clock
    )
    loop = Loop(ends.source, ends.sink, stage, meter=meter, log=log, stop=stop, clock=clock)
    more = f", up to {1000 * longest:.0f} where not every one is new" if longest > budget else ""
    say(f"{ends.source.label} to {ends.sink.label}, {1000 * budget:.0f} ms a frame{more}")
    try:
        loop.run()
    finally:
        log.close()
        for line in summary(meter):
            say(line)


def summary(meter: Meter) -> list[str]:
    """What a run did, in lines."""
    counts, seconds = meter.counts, meter.seconds()
    times = meter.whole()[TOTAL]
    lines = [
        f"{counted(counts['shown'], 'frame')} shown of {counts['captured']} captured in {seconds:.1f} s, "
        f"{counts['new']} of them new ({counts['new'] / max(seconds, 1e-3):.1f} a second); "
        f"added latency p50 {times.p50:.1f}, p95 {times.p95:.1f}, p99 {times.p99:.1f} ms"
    ]
    rest = [
        f"{number} {name}" for name, number in counts.items() if name not in ("captured", "new", "shown") and number
    ]
    return lines + ([", ".join(rest)] if rest else [])
