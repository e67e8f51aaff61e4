"""Several GPUs at once: each has chunks of its own, in a lane of decoder, network and encoder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TypeVar

from vsr.chunks import Chunk
from vsr.report import Report, counted
from vsr.settings import EngineSettings

Result = TypeVar("Result")
Progress = Callable[[Report], None]
Stop = Callable[[], int]
Share = tuple[tuple[Chunk, ...], ...]  # runs of neighbouring chunks
COUNTS = ("frames_decoded", "frames_upscaled", "frames_spared", "frames_written", "media_seconds")


def each_gpu(engine: EngineSettings) -> list[EngineSettings]:
    """The settings for each of their GPUs; as they are where they name none or one."""
    return [replace(engine, devices=(device,)) for device in engine.devices] or [engine]


def unused(engine: EngineSettings, sink: str, chunks: int) -> list[str]:
    """Why not every GPU asked for will have something to do."""
    if sink and len(engine.devices) > 1:
        return [f"only GPU {engine.devices[0]} is used: this output isn't cut into chunks"]
    if chunks < len(engine.devices):
        return [
            f"not every GPU is used: {counted(chunks, 'chunk')} for {len(engine.devices)} (--chunk makes shorter ones)"
        ]
    return []


def shares(missing: Sequence[tuple[Chunk, ...]], count: int) -> list[Share]:
    """The chunks to be done in at most `count` parts of the same number, each in order and after the one before."""
    chunks = [chunk for run in missing for chunk in run]
    size = max(1, -(-len(chunks) // count))
    return [_runs(chunks[at : at + size]) for at in range(0, len(chunks), size)]


def _runs(chunks: Sequence[Chunk]) -> Share:
    """Cut where a chunk that isn't there would have been."""
    cuts = [at for at in range(1, len(chunks)) if chunks[at].index != chunks[at - 1].index + 1]
    return tuple(tuple(chunks[a:b]) for a, b in zip([0, *cuts], [*cuts, len(chunks)], strict=True))


def together(
    lanes: Sequence[Callable[[Report, Progress, Stop], Result]], report: Report, progress: Progress, stop: Stop
) -> list[Result]:
    """Runs lanes side by side; what each returns. One alone runs in the caller's thread, with the caller's report.

    Args:
        lanes: each takes a report of its own, what it calls after every frame, and what says that it shall stop.
        report: gets the sum of the lanes' after every frame.

    Raises:
        What was raised first, by any lane; the others are stopped and waited for, and what they raise then is not told.
    """
    if len(lanes) < 2:
        return [lane(report, progress, stop) for lane in lanes]
    several = _Several(report, progress, [Report(clock=report.clock, recorder=report.recorder) for _ in lanes])
    errors: list[BaseException] = []  # in the order of time

    def run(lane: Callable[[Report, Progress, Stop], Result], own: Report) -> Result:
        try:
            return lane(own, several.seen, lambda: stop() or int(bool(errors)))
        except BaseException as error:
            errors.append(error)
            raise

    try:
        with ThreadPoolExecutor(len(lanes)) as pool:
            futures = [pool.submit(run, lane, own) for lane, own in zip(lanes, several.lanes, strict=True)]
            try:
                wait(futures)
            except BaseException as error:
                errors.append(error)
                raise
    finally:
        several.gather()
    if errors:
        raise errors[0]
    return [future.result() for future in futures]


class _Several:
    """The reports of lanes as one."""

    def __init__(self, report: Report, progress: Progress, lanes: Sequence[Report]) -> None:
        self.lanes = lanes
        self._report, self._progress = report, progress
        self._before = {name: getattr(report, name) for name in COUNTS}
        self._lock = threading.Lock()

    def seen(self, lane: Report) -> None:
        """After a frame in any lane."""
        with self._lock:
            self.gather()
            self._progress(self._report)

    def gather(self) -> None:
        report, lanes = self._report, self.lanes
        for name in COUNTS:
            setattr(report, name, self._before[name] + sum(getattr(lane, name) for lane in lanes))
        stages = [lane.stages.copy() for lane in lanes]
        for name in {name for each in stages for name in each}:
            report.stages[name] = sum(each.get(name, 0.0) for each in stages)
        report.engine = "; ".join(dict.fromkeys(lane.engine for lane in lanes if lane.engine))
        for lane in lanes:
            for line in lane.notes:
                report.note(line)
            for line in lane.damage:
                report.damaged(line)
