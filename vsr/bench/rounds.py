"""Runs the cases, interleaved: round by round, every case once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vsr.bench.builds import RunFailedError
from vsr.bench.once import Outcome
from vsr.bench.result import Absent, Case, Measured, Round, Span, Stage
from vsr.errors import UsageError

PERCENTILES = (50, 95, 99)
SHOWN = 0.5  # seconds of a run that are kept as its timeline
SPANS = 300  # stretches of it at most


Run = Callable[[Case, Path, Path, int], list[tuple[Outcome, Round]]]  # of all builds: clip, folder, round's number
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


@dataclass
class _Series:
    """The rounds of one case of one build."""

    measured: Measured
    spans: list[list[Span]] = field(default_factory=list)

    def add(self, outcome: Outcome, done: Round) -> None:
        self.measured.engine, self.measured.frames = outcome.engine, outcome.frames
        self.measured.rounds.append(done)
        self.spans.append(outcome.spans)

    def result(self) -> Measured:
        self.measured.stages = stages(self.spans)
        self.measured.timeline = timeline(self.spans[-1]) if self.spans else []
        return self.measured


def measure(plan: Plan, run: Run, say: Say = lambda line: None) -> tuple[list[list[Measured]], list[Absent]]:
    """For each case the results of the builds; and the cases that can't be had.

    Raises VsrError when a run fails for another reason than that.
    """
    cases, absent = _first(plan, run, say)
    for number in range(plan.rounds):
        for builds in cases:
            case = builds[0].measured.case
            say(f"round {number + 1} of {plan.rounds}: {case}")
            done = run(case, plan.clips[case.size], plan.cache(case), number)
            for series, each in zip(builds, done, strict=True):
                series.add(*each)
    return [[series.result() for series in builds] for builds in cases], absent


def _first(plan: Plan, run: Run, say: Say) -> tuple[list[list[_Series]], list[Absent]]:
    """Every case that can be had, with its cold start where nothing of its kind ran before."""
    cases, absent = list[list[_Series]](), list[Absent]()
    tried: dict[Path, tuple[int, str]] = {}  # builds, and why not
    for case in plan.cases:
        cache, cold = plan.cache(case), list[Round | None]()
        if cache not in tried:
            say(f"cold start: {case}")
            try:
                cold = [done for _, done in run(case, plan.clips[case.size], cache, 0)]
                tried[cache] = len(cold), ""
            except RunFailedError as error:
                if error.exit_code != UsageError.exit_code:
                    raise
                tried[cache] = 0, str(error)
        builds, why = tried[cache]
        if why:
            absent.append(Absent(case=case, why=why))
        else:
            cases.append([_Series(Measured(case=case, cold=once)) for once in cold or builds * [None]])
    return cases, absent


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
