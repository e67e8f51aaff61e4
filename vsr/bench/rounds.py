"""Runs the cases, interleaved: round by round, every case once in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from vsr.bench.meters import Busy, Energy
from vsr.bench.once import Order, Outcome
from vsr.bench.result import Absent, Case, Measured, Round, Span, Stage
from vsr.errors import UsageError, VsrError

PERCENTILES = (50, 95, 99)
SHOWN = 0.5  # seconds of a run that are kept as its timeline
SPANS = 300  # stretches of it at most


class RunFailedError(VsrError):
    """A run ended with an error; its line and exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.exit_code = code


Run = Callable[[Case, Path, Path], tuple[Outcome, Round]]  # of which clip, with which folder of compiled models
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        clips: of every size of the cases.
        folder: for what the runs write.
    """

    cases: Sequence[Case]
    clips: dict[str, Path]
    rounds: int
    folder: Path

    def cache(self, case: Case) -> Path:
        """One for all sinks."""
        return self.folder / str(replace(case, sink="")).replace(" ", "_")


def measure(plan: Plan, run: Run, say: Say = lambda line: None) -> tuple[list[Measured], list[Absent]]:
    """The cases' results, and those that can't be had.

    Raises VsrError when a run fails for another reason than that.
    """
    results, absent, spans = _first(plan, run, say)
    for number in range(plan.rounds):
        for measured, kept in zip(results, spans, strict=True):
            say(f"round {number + 1} of {plan.rounds}: {measured.case}")
            outcome, done = run(measured.case, plan.clips[measured.case.size], plan.cache(measured.case))
            measured.engine, measured.frames = outcome.engine, outcome.frames
            measured.rounds.append(done)
            kept.append(outcome.spans)
    for measured, kept in zip(results, spans, strict=True):
        measured.stages = stages(kept)
        measured.timeline = timeline(kept[-1]) if kept else []
    return results, absent


def _first(plan: Plan, run: Run, say: Say) -> tuple[list[Measured], list[Absent], list[list[list[Span]]]]:
    """Every case that can be had, with its cold start where nothing of its kind ran before."""
    results, absent = list[Measured](), list[Absent]()
    missing: dict[Path, str] = {}
    for case in plan.cases:
        measured, cache = Measured(case=case), plan.cache(case)
        if cache not in missing:
            say(f"cold start: {case}")
            try:
                missing[cache], measured.cold = "", run(case, plan.clips[case.size], cache)[1]
            except RunFailedError as error:
                if error.exit_code != UsageError.exit_code:
                    raise
                missing[cache] = str(error)
        if missing[cache]:
            absent.append(Absent(case=case, why=missing[cache]))
        else:
            results.append(measured)
    return results, absent, [[] for _ in results]


def process(case: Case, clip: Path, cache: Path) -> tuple[Outcome, Round]:
    """A run in a process of its own. Raises RunFailedError."""
    environment = {**os.environ, "VSR_CACHE": str(cache)}
    cache.mkdir(exist_ok=True)
    energy, busy, own = Energy.now(), Busy.now(), children_seconds()
    order = Order(case=case, clip=str(clip), output=str(cache / "out.mp4"), begin=time.perf_counter())
    command = [sys.executable, "-m", "vsr.bench.once"]
    done = subprocess.run(
        command, input=json.dumps(asdict(order)), env=environment, capture_output=True, text=True, check=False
    )
    own = children_seconds() - own
    if done.returncode:
        line = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        raise RunFailedError(f"{case}: {line}", done.returncode)
    outcome = Outcome(**json.loads(done.stdout))
    later_energy, later_busy = Energy.now(), Busy.now()
    return outcome, Round(
        fps=(outcome.frames - 1) / max(outcome.end - outcome.first_frame, 1e-9),
        seconds=outcome.end,
        first_frame=outcome.first_frame,
        peak_mib=round(outcome.peak_mib, 1),
        joules=energy.until(later_energy) if energy and later_energy else None,
        others=busy.others(later_busy, own) if busy and later_busy else None,
    )


def children_seconds() -> float:
    """Seconds of a core that ended processes of this one took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stages(runs: Sequence[Sequence[Span]]) -> dict[str, Stage]:
    """Of all calls of these runs, in the order stages begin."""
    taken: dict[str, list[float]] = {}
    for stage, begin, end in (span for spans in runs for span in spans):
        taken.setdefault(stage, []).append(1000 * (end - begin))
    whole = sum(map(sum, taken.values())) or 1.0
    spread = {stage: np.percentile(each, PERCENTILES).round(4).tolist() for stage, each in taken.items()}
    return {
        stage: Stage(
            calls=len(each), share=sum(each) / whole, **dict(zip(("p50", "p95", "p99"), spread[stage], strict=True))
        )
        for stage, each in taken.items()
    }


def timeline(spans: Sequence[Span]) -> list[Span]:
    """A stretch from the middle of a run, beginning at 0, in milliseconds."""
    if not spans:
        return []
    middle = (min(begin for _, begin, _ in spans) + max(end for _, _, end in spans)) / 2
    kept = sorted((span for span in spans if span[2] > middle and span[1] < middle + SHOWN), key=lambda span: span[1])
    inside = [(stage, max(begin, middle), min(end, middle + SHOWN)) for stage, begin, end in kept[:SPANS]]
    return [(stage, round(1000 * (begin - middle), 3), round(1000 * (end - middle), 3)) for stage, begin, end in inside]
