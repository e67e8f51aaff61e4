"""How a run shows that it goes on: a bar for people, JSON lines for programs."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import IO, Any, Self

from vsr.job import Job
from vsr.report import Clock, Report

EVERY = 0.5  # seconds between JSON lines


class _Silent(nullcontext[None]):
    def __call__(self, report: Report) -> None:
        """Says nothing."""


def silent() -> AbstractContextManager[Any]:
    """Progress that nobody sees."""
    return _Silent()


class Bar:
    """A rich progress bar on standard error: frames, fps, speed, time left, and what runs."""

    def __init__(self, job: Job, clock: Clock = time.perf_counter) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._clock, self._begin = clock, clock()
        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[line]}"), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=job.source.frames, line="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, report: Report) -> None:
        spent = self._clock() - self._begin
        done, speed = report.frames_upscaled, report.media_seconds / spent
        fps = (done - report.frames_resumed) / spent
        line = f"frame {done} {fps:.1f} fps {speed:.2f}x {report.engine}"
        self._progress.update(self._task, completed=done, line=line)


class JsonLines:
    """One JSON object a line, with the keys of ffmpeg's -progress; the last has progress "end" and the report."""

    def __init__(self, job: Job, stream: IO[str], clock: Clock = time.perf_counter) -> None:
        self._frames, self._stream = job.source.frames, stream
        self._clock = clock
        self._begin = self._said = clock()
        self._report: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._report is not None:
            extra: dict[str, Any] = {"report": self._report.to_dict()} if kind is None else {"error": str(error)}
            self._write(self._report, "end", extra)

    def __call__(self, report: Report) -> None:
        self._report = report
        if self._clock() - self._said >= EVERY:
            self._said = self._clock()
            self._write(report, "continue", {})

    def _write(self, report: Report, progress: str, extra: dict[str, Any]) -> None:
        spent = self._clock() - self._begin
        line = {
            "version": 1,
            "frame": report.frames_upscaled,
            "frames": self._frames,
            "fps": round((report.frames_upscaled - report.frames_resumed) / spent, 2),
            "out_time_us": round(report.media_seconds * 1e6),
            "dup_frames": 0,
            "drop_frames": 0,
            "speed": round(report.media_seconds / spent, 3),
            "engine": report.engine,
            "progress": progress,
        }
        print(json.dumps(line | extra), file=self._stream, flush=True)
