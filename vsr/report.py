"""Report: what a run did, one dataclass that every stage adds to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

Clock = Callable[[], float]  # seconds that only rise; tests pass their own
Recorder = Callable[
    [str, float, float], None
]  # gets every stretch of a stage's work: its name, begin, end; from any thread
LeftOut = tuple[int, int]  # a packet that couldn't be copied: its track in the source, its number among those timed
LISTED = 1000  # damage entries kept word for word; the count goes on


def counted(number: int, noun: str) -> str:
    """ "1 frame", "2 frames"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass
class Report:
    """Filled while the run goes; JSON at the end.

    Times are wall-clock seconds inside a stage's own work. "network" is the time its thread waited for results, and for
    frames where decoding is the slower. Stages overlap, so their sum is larger than `seconds`.
    """

    input: str = ""
    output: str = ""
    engine: str = ""  # backend and the precision that really ran
    frames_decoded: int = 0
    frames_upscaled: int = 0
    frames_resumed: int = 0  # of these, taken over from an interrupted run
    frames_spared: float = 0.0  # work of so many frames wasn't done, as nothing had changed
    frames_written: int = 0
    packets_copied: int = 0
    seconds: float = 0.0  # of the whole run
    media_seconds: float = 0.0  # presentation time covered by the frames written
    stages: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # every drop, fallback, repair and choice worth knowing
    damage: list[str] = field(default_factory=list)
    damaged_packets: int = 0
    verified: list[str] = field(default_factory=list)  # what was read back and found right
    digest: str = ""  # of sink md5
    _told: set[str] = field(default_factory=set, repr=False, compare=False)  # of damage, what isn't listed too
    clock: Clock = field(default=time.perf_counter, repr=False, compare=False)
    recorder: Recorder | None = field(default=None, repr=False, compare=False)

    @property
    def exit_code(self) -> int:
        """0, or 5 when the input was damaged and the rest was kept."""
        return 5 if self.damaged_packets else 0

    @property
    def fps(self) -> float:
        return (self.frames_written - self.frames_resumed) / self.seconds if self.seconds else 0.0

    @property
    def reused(self) -> float:
        """Share of the network's work that was spared, of the frames upscaled in this run."""
        frames = self.frames_upscaled - self.frames_resumed
        return self.frames_spared / frames if frames else 0.0

    def note(self, line: str) -> None:
        """Adds a line once."""
        if line not in self.notes:
            self.notes.append(line)

    def damaged(self, line: str) -> None:
        """Counts one damaged packet or frame, once however often it is read."""
        if line in self._told:
            return
        self._told.add(line)
        self.damaged_packets += 1
        if len(self.damage) < LISTED:
            self.damage.append(line)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to a stage; each stage is timed by one thread only."""
        begin = self.clock()
        try:
            yield
        finally:
            end = self.clock()
            self.stages[name] = self.stages.get(name, 0.0) + end - begin
            if self.recorder is not None:
                self.recorder(name, begin, end)

    def to_dict(self) -> dict[str, Any]:
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("clock", "recorder", "_told")}
        rates = {"fps": round(self.fps, 3), "reused": round(self.reused, 4)}
        return {"version": 1, **facts, **rates, "exit_code": self.exit_code}
