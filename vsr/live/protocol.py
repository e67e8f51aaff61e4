"""What the live loop stands between: a source that captures, a sink that shows or records.

Times are `time.monotonic()` seconds, which on Linux every process of a machine shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Protocol

from vsr.frame import Frame

Policy = Literal["newest", "all"]  # what waits while the network is busy: the newest frame alone, or a bounded queue
RATE = Fraction(30)  # frames a second of a source that names no rate


@dataclass(frozen=True)
class Captured:
    """A frame as it came in.

    Args:
        frame: planar; whoever takes it releases it.
        at: when its pixels were in memory.
        number: among the captured, from 0; what is missing was dropped.
    """

    frame: Frame
    at: float
    number: int


@dataclass(frozen=True)
class Sound:
    """A packet of sound, copied as it is.

    Args:
        packet: PyAV's; its pts stands on the timeline of the frames' pts, which goes on through a reconnection: the
            time nothing came counts.
        at: when it had come.
    """

    packet: Any
    at: float


@dataclass(frozen=True)
class Shown:
    """An upscaled frame for a sink.

    Args:
        frame: valid until the sink's next `show` has returned, or its `close`; the loop releases it.
        source: the frame it was made of, for a split view; valid as long.
        at, number: of the captured frame.
        ready: when its upscaling had ended.
        rung: what made it, as the overlay names it, e.g. "m4c16 int8".
        repeated: the source hadn't changed and the result is the last one again.
    """

    frame: Frame
    source: Frame
    at: float
    number: int
    ready: float
    rung: str
    repeated: bool


@dataclass(frozen=True)
class Spread:
    """Percentiles of a time in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Snapshot:
    """What the overlay and the statistics say of the last two seconds.

    Args:
        captured, new, shown: frames a second; `new` without those that repeat the one before.
        latency: from pixels in memory to shown, of new frames; by stage too: "wait", "upscale", "show".
        rung: what upscales now; `every` 2 means that only every second new frame is.
        dropped: of the run so far, frames that something newer overtook.
        decision: the last change of rung and its reason; empty before the first.
    """

    captured: float
    new: float
    shown: float
    latency: Spread
    stages: Mapping[str, Spread]
    rung: str
    every: int
    dropped: int
    decision: str


class Console(Protocol):
    """What a sink with keys may ask the loop; from any thread."""

    def snapshot(self) -> Snapshot: ...

    def step(self, by: int) -> None:
        """Goes down the ladder by so many rungs (up where negative), as far as there are; then control goes on."""

    def count(self, what: str, number: int = 1) -> None:
        """Adds to what the summary tells; a name that begins with "dropped" counts among the drops."""


class Source(Protocol):
    """Something that captures; what it needs is open once it is made.

    Attributes:
        label: for the screen, e.g. `window "Doom" 640x480`.
        rate: frames a second at most; None when it comes as it comes, and is taken for `RATE` where one is needed.
        sound: PyAV's audio stream that `Sound` packets are of, None without; valid until `frames` is first asked.
    """

    label: str
    sound: Any

    @property
    def rate(self) -> Fraction | None: ...

    def frames(self) -> Iterator[Captured | Sound]:
        """As they come, each at most once, in a thread of the loop's; ends when the source does.

        Frames may change size. After the first one nobody asks for more until engines are open. Raises InputError when
        the source is lost or says nothing for its timeout.
        """

    def close(self) -> None:
        """From another thread too; `frames` ends soon after."""


class Sink(Protocol):
    """Where results go. Its calls come from one thread; a window wants the main one.

    Attributes:
        policy: "newest" for what is watched, "all" for what is kept.
    """

    label: str
    policy: Policy

    def begin(self, console: Console, source: Source) -> None:
        """Once, before `source.frames` starts; takes over the description of its sound. Raises OutputError."""

    def hear(self, sound: Sound) -> None:
        """Takes a packet of sound; a sink that has no place for it passes over it."""

    def show(self, shown: Shown) -> None:
        """Takes one result; may block for as long as it takes to present or encode it. Raises OutputError."""

    def idle(self) -> None:
        """Nothing new: keeps a window alive, repeats a frame where the rate is constant. Called often."""

    def wants(self) -> bool:
        """False once the user closed it."""

    def close(self) -> None: ...
