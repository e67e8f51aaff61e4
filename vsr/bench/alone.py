"""The engine by itself, one frame at a time: what a frame costs when nothing else runs and nothing overlaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from vsr.backends.choice import Engines
from vsr.backends.cuda import SlotEngine
from vsr.backends.engine import Engine
from vsr.bench.once import settings
from vsr.bench.result import Case, Measured, Span, Stage
from vsr.bench.rounds import stages
from vsr.frame import Frame
from vsr.graph import FrameSpec
from vsr.pipeline import decoded
from vsr.probe import probe
from vsr.report import Report

FRAMES, WARM = 30, 3


def measure(
    results: Sequence[Measured], clips: Mapping[str, Path], say: Callable[[str], None] = lambda line: None
) -> None:
    """Fills in `alone`, measured once for all sinks."""
    known: dict[Case, dict[str, Stage]] = {}
    for measured in results:
        case = replace(measured.case, sink="null")
        if case not in known:
            say(f"the engine alone: {case}")
            known[case] = on_clip(case, str(clips[case.size]))
        measured.alone = known[case]


def on_clip(case: Case, clip: str) -> dict[str, Stage]:
    wanted = settings(case, clip, "")
    with (
        closing(Engines(wanted.engine, timed=True)) as engines,
        decoded(probe(wanted), Report()) as frames,
        closing(frames),
    ):
        frame = next(frames)
        try:
            _, engine = engines.open(FrameSpec.of(frame))
            with closing(engine):
                return timed(engine, frame)
        finally:
            frame.release()


def timed(engine: Engine, frame: Frame) -> dict[str, Stage]:
    """Of the same frame again and again, the first ones left out."""
    spans: list[Span] = []
    for _ in range(WARM + FRAMES):
        begin = perf_counter()
        engine.wait(engine.submit(frame.lent())).release()
        spans.append(("frame", begin, perf_counter()))
    steps = engine.times if isinstance(engine, SlotEngine) else []
    for times in steps[-FRAMES:]:
        spans += [("upload", times.begin, times.uploaded), ("network", times.uploaded, times.computed)]
        spans.append(("download", times.computed, times.downloaded))
    return stages([spans[WARM:]])
