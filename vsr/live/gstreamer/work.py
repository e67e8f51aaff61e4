"""Buffers on their way through an engine."""

from __future__ import annotations

import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np

from vsr.backends import open_engine
from vsr.backends.engine import Engine, Ticket
from vsr.errors import InputError
from vsr.frame import ChromaLocation, Colour, Frame, Planes, TrackFacts
from vsr.graph import FrameSpec
from vsr.live.gstreamer.binding import Gst, GstVideo
from vsr.live.gstreamer.caps import FORMATS
from vsr.live.gstreamer.layout import layout, memory_of
from vsr.models import resolve
from vsr.settings import EngineSettings

# GstVideoChromaSite: 1 none, 2 horizontally, 4 vertically cosited, 8 U and V on alternate lines
SITES: dict[int, ChromaLocation] = {1: "center", 2: "left", 4: "top", 6: "topleft", 14: "topleft"}
ANY = 1000  # more frames than an engine takes


@dataclass(frozen=True)
class _InWork:
    ticket: Ticket
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

    Raises:
        UsageError, InputError, MemoryLimitError: no engine can be opened.
    """

    def __init__(self, settings: EngineSettings, source: Any, target: Any, *, live: bool, budget: int) -> None:
        self._source, self._target = source, target
        self._format = FORMATS[source.finfo.name]
        self._facts = TrackFacts(colour=Colour(chroma_location=SITES.get(int(source.chroma_site), "unspecified")))
        location = self._facts.colour.chroma_location
        spec = FrameSpec(format=self._format, width=source.width, height=source.height, location=location)
        choice = resolve(settings, self._format.depth)
        rate = Fraction(source.fps_n, source.fps_d)
        patient = patience(budget, rate, live=live)
        self._engine = open_engine(replace(settings, streams=0 if patient else 1), choice, spec)
        self._held = min(patient, self._engine.capacity - 1)
        waiting = float(self._held / rate) if rate else 0.0
        self.latency = max(waiting, measured(self._engine, spec, self._held + 1) if live else 0.0)  # seconds
        self.label = f"{choice.network} {self._engine.label}"
        self.note = f"{spec} to {target.width}x{target.height}: {self.label} ({choice.why})"
        self._flight: deque[_InWork] = deque()

    @property
    def empty(self) -> bool:
        return not self._flight

    @property
    def full(self) -> bool:
        """The oldest has waited for as many later ones as it may."""
        return len(self._flight) > self._held

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
            ticket = self._engine.submit(frame, samples)
            self._flight.append(_InWork(ticket, wanted, samples, there, maps.pop_all()))

    def finish(self) -> Any:
        """The oldest result."""
        oldest = self._flight.popleft()
        with oldest.maps:
            self._engine.wait(oldest.ticket)
            for plane, samples in zip(oldest.planes, oldest.samples, strict=True):
                if samples is not plane:
                    np.copyto(plane, samples)
        return oldest.wanted

    def drop(self) -> None:
        """Forgets what is in work."""
        self._engine.reset()
        while self._flight:
            self._flight.popleft().maps.close()

    def close(self) -> None:
        self.drop()
        self._engine.close()

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


def measured(engine: Engine, spec: FrameSpec, together: int) -> float:
    """Seconds until `together` frames are done that came at once; a first round warms up."""
    planes = tuple(np.zeros(shape, spec.format.dtype) for shape in spec.format.shapes(spec.width, spec.height))
    facts = TrackFacts(colour=Colour(chroma_location=spec.location))
    frame = Frame(format=spec.format, width=spec.width, height=spec.height, planes=planes, facts=facts)
    begin = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        for index in range(together):
            engine.submit(replace(frame, index=index))
        for result in engine.drain():
            result.release()
    return time.perf_counter() - begin
