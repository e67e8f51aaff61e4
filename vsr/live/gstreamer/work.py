"""Buffers on their way through an engine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Any, cast

import numpy as np

from vsr.backends.choice import Engines
from vsr.backends.engine import Engine, Ticket
from vsr.device.protocol import DeviceError
from vsr.errors import InputError
from vsr.frame import ChromaLocation, Colour, Frame, PlanarFormat, Planes, TrackFacts
from vsr.graph import FrameSpec
from vsr.live.gstreamer.binding import Gst, GstVideo
from vsr.live.gstreamer.caps import FORMATS
from vsr.live.gstreamer.layout import layout, memory_of
from vsr.settings import EngineSettings

# GstVideoChromaSite: 1 none, 2 horizontally, 4 vertically cosited, 8 U and V on alternate lines
SITES: dict[int, ChromaLocation] = {1: "center", 2: "left", 4: "top", 6: "topleft", 14: "topleft"}
ANY = 1000  # more frames than an engine takes


@dataclass(frozen=True)
class _InWork:
    frame: Frame
    wanted: Any  # the buffer that becomes the result
    samples: Planes  # where the engine writes
    planes: Planes  # where they belong, in `wanted`
    maps: ExitStack


class Work:
    """Upscales buffers of one kind; each stays mapped until its result is there.

    Args:
        source, target: GstVideoInfo of what comes and what goes.
        live: upstream can't wait; only then the time of a frame is measured.
        budget: milliseconds a frame may wait for later ones, so that the engine has several at once; below 0: not at
            all where `live`, otherwise as long as the engine has room.
        engines: opens engines.

    Raises:
        UsageError, InputError, MemoryLimitError, DeviceError: no engine can be opened.

    Attributes:
        latency: seconds from a buffer to its result.
        label: network, backend and precision.
        notes: what a user should hear; whoever has told a line removes it.
    """

    def __init__(
        self,
        settings: EngineSettings,
        source: Any,
        target: Any,
        *,
        live: bool,
        budget: int,
        engines: Callable[[EngineSettings], Engines] = Engines,
    ) -> None:
        self._source, self._target = source, target
        self._format = FORMATS[source.finfo.name]
        self._facts = TrackFacts(colour=Colour(chroma_location=SITES.get(int(source.chroma_site), "unspecified")))
        location = self._facts.colour.chroma_location
        spec = FrameSpec(format=self._format, width=source.width, height=source.height, location=location)
        rate = Fraction(source.fps_n, source.fps_d)
        self._patience = patience(budget, rate, live=live)
        self._engines = engines(replace(settings, streams=0 if self._patience else 1))
        self._flight: deque[_InWork] = deque()
        self._tickets: deque[Ticket] = deque()  # of the first of those
        self._spec, self.label, self.notes = spec, "", list[str]()
        self._open()
        waiting = float(self._held / rate) if rate else 0.0
        self.latency = max(waiting, self._measured() if live else 0.0)

    @property
    def empty(self) -> bool:
        return not self._flight

    @property
    def full(self) -> bool:
        """The oldest has waited for as many later ones as it may."""
        return len(self._flight) > self._held

    @property
    def _held(self) -> int:
        return min(self._patience, self._engine.capacity - 1)

    def start(self, given: Any, wanted: Any) -> None:
        """Takes two buffers: reads the first, writes the second. Raises InputError for one too small for its caps."""
        with ExitStack() as maps:
            here = self._planes(maps, given, self._source, Gst.MapFlags.READ)
            there = self._planes(maps, wanted, self._target, Gst.MapFlags.WRITE)
            dense = cast(Planes, tuple(np.ascontiguousarray(plane) for plane in here))  # copies only what has gaps
            frame = Frame(
                format=self._format,
                width=self._source.width,
                height=self._source.height,
                planes=dense,
                facts=self._facts,
            )
            samples = tuple(plane if plane.flags.c_contiguous else np.empty_like(plane, order="C") for plane in there)
            self._flight.append(_InWork(frame, wanted, samples, there, maps.pop_all()))
        self._submit()

    def finish(self) -> Any:
        """The oldest result, however many engines it takes."""
        while True:
            self._submit()
            try:
                self._engine.wait(self._tickets[0])
                break
            except DeviceError as error:
                self._replace(error)
        self._tickets.popleft()
        oldest = self._flight.popleft()
        with oldest.maps:
            for plane, samples in zip(oldest.planes, oldest.samples, strict=True):
                if samples is not plane:
                    np.copyto(plane, samples)
        return oldest.wanted

    def drop(self) -> None:
        """Forgets what is in work."""
        self._tickets.clear()
        self._engine.reset()
        while self._flight:
            self._flight.popleft().maps.close()

    def close(self) -> None:
        self.drop()
        self._engine.close()
        self._engines.close()

    def _open(self) -> None:
        self._choice, self._engine = self._engines.open(self._spec)
        self.label = f"{self._choice.network} {self._engine.label}"
        size = f"{self._target.width}x{self._target.height}"
        self.notes += self._engines.notes
        self._engines.notes.clear()
        self.notes.append(f"{self._spec} to {size}: {self.label} ({self._choice.why})")

    def _submit(self) -> None:
        """Gives the engine what it has room for."""
        while True:
            try:
                for each in islice(self._flight, len(self._tickets), self._engine.capacity):
                    self._tickets.append(self._engine.submit(each.frame, each.samples))
                return
            except DeviceError as error:
                self._replace(error)

    def _replace(self, error: DeviceError) -> None:
        """Another engine; what was in the broken one is submitted again."""
        self._tickets.clear()
        self._engines.failed(self._choice, error)
        with suppress(DeviceError):  # whatever it says more of its end
            self._engine.close()
        self._open()

    def _measured(self) -> float:
        while True:
            try:
                return measured(self._engine, self._spec, self._choice.scale, self._held + 1)
            except DeviceError as error:
                self._replace(error)

    def _planes(self, maps: ExitStack, buffer: Any, info: Any, flags: Any) -> Planes:
        mapped = maps.enter_context(buffer.map(flags))
        try:
            return layout(self._format, info, GstVideo.buffer_get_video_meta(buffer)).planes(memory_of(mapped))
        except (TypeError, ValueError) as error:
            name, size = info.finfo.name, f"{info.width}x{info.height}"
            raise InputError(f"a buffer of {mapped.size} bytes can't hold {name} {size} ({error})") from error


def patience(budget: int, rate: Fraction, *, live: bool) -> int:
    """How many later frames one may wait for within `budget` milliseconds, at `rate` frames a second (0: unknown)."""
    if budget < 0:
        return 0 if live else ANY
    return int(budget * rate / 1000)


def measured(engine: Engine, spec: FrameSpec, scale: int, together: int) -> float:
    """Seconds until `together` frames are done that came at once; a first round warms up."""
    facts = TrackFacts(colour=Colour(chroma_location=spec.location))
    planes = _black(spec.format, spec.width, spec.height)
    frame = Frame(format=spec.format, width=spec.width, height=spec.height, planes=planes, facts=facts)
    targets = [_black(spec.format, spec.width * scale, spec.height * scale) for _ in range(together)]
    begin = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        for target in targets:
            engine.submit(frame, target)
        engine.drain()
    return time.perf_counter() - begin


def _black(format: PlanarFormat, width: int, height: int) -> Planes:
    return tuple(np.zeros(shape, format.dtype) for shape in format.shapes(width, height))
