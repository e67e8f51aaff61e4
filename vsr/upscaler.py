"""The stage between decoder and encoder, and the class for single pictures."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, cast, overload

import numpy as np

from vsr.backends import cache_folder
from vsr.backends.choice import Engines
from vsr.backends.engine import Engine, Ticket
from vsr.backends.reuse import reusing
from vsr.device.protocol import DeviceError
from vsr.frame import Frame, Memory, Planes
from vsr.graph import FrameSpec
from vsr.models import ModelChoice
from vsr.picture import Picture, format_of, joined, split
from vsr.settings import Backend, EngineSettings, Precision, Weights
from vsr.surface import THROUGH_MEMORY

ENGINES_KEPT = 4  # sizes an Upscaler stays ready for
LANDED = f"{THROUGH_MEMORY}: this engine takes none on the GPU"
NO_CACHE = "no folder for compiled models can be written, every start compiles them again; VSR_CACHE names another"


class UpscaleStage:
    """Frame to frame at `settings.scale`: keeps the engine full, yields in order, opens another one at a new format.

    Results carry the time, index and facts of their inputs; whoever takes one releases it. Inputs are released here,
    once their results are out: when an engine on a GPU breaks, what was in it goes through the next one.

    Args:
        engines: opens them; None for what the settings ask for.
        say: gets at once what takes long and why.

    Attributes:
        label: network, backend and the precision that runs, of the latest engine; empty before the first frame.
        notes: one line for each engine opened, why it isn't a better one, and anything else a user should hear.
        spared: how many frames' work wasn't done as nothing had changed, of the results so far.
    """

    def __init__(
        self, settings: EngineSettings, engines: Engines | None = None, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.engines = engines or Engines(settings, say=say)
        self.label = ""
        self.notes: list[str] = []
        self.spared = 0.0
        self._reuse = settings.reuse
        self._spec: FrameSpec | None = None
        self._choice: ModelChoice | None = None
        self._engine: Engine | None = None
        self._kept: deque[Frame] = deque()  # their results are still to come
        self._tickets: deque[Ticket] = deque()  # of the first of those
        self._retired: list[Engine] = []

    def prepare(self, spec: FrameSpec) -> Memory | None:
        """Opens the engine for what comes first; the memory that frames had best be decoded into, None for any.

        Raises:
            VsrError: as `frames`.
        """
        self._open(spec)
        return self.engines.memory()

    @property
    def takes_surfaces(self) -> bool:
        """Whether frames had best stay on the GPU, after `prepare`."""
        return self._engine is not None and self._engine.takes_surfaces

    def frames(self, upstream: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Raises UsageError, InputError, MemoryLimitError or DeviceError when no engine is left for a frame."""
        for frame in upstream:
            if FrameSpec.of(frame) != self._spec:
                try:
                    yield from self._rest()
                    self._open(FrameSpec.of(frame))
                except BaseException:  # also when the consumer leaves: this frame is still ours
                    frame.release()
                    raise
            self._kept.append(frame)
            while len(self._kept) >= self._filled().capacity:
                yield self._next()
        yield from self._rest()

    def _rest(self) -> Iterator[Frame]:
        while self._kept:
            yield self._next()

    def _next(self) -> Frame:
        """The oldest result, however many engines it takes."""
        while True:
            engine = self._filled()
            try:
                result = engine.wait(self._tickets[0])
            except DeviceError as error:
                self._replace(error)
                continue
            self._tickets.popleft()
            self._kept.popleft().release()
            return result

    def _filled(self) -> Engine:
        """The engine, with as many of the kept frames as it takes."""
        while True:
            assert self._engine is not None
            try:
                for frame in islice(self._kept, len(self._tickets), self._engine.capacity):
                    self._tickets.append(self._engine.submit(frame.lent()))
                return self._engine
            except DeviceError as error:
                self._replace(error)

    def _replace(self, error: DeviceError) -> None:
        """Another engine for the same frames; those that were in the broken one are submitted again."""
        assert self._choice is not None
        assert self._spec is not None
        self._tickets.clear()
        self.engines.failed(self._choice, error)
        self._open(self._spec)

    def _open(self, spec: FrameSpec) -> None:
        self._retired += [self._engine] if self._engine else []
        self._engine = None
        self._close_retired()
        try:
            self._choice, engine = self.engines.open(spec)
            tiles = partial(self.engines.tiles, self._choice)
            self._engine = reusing(
                engine, spec, self._choice, self._reuse, open_tiles=tiles, spared=self._count, say=self._note
            )
        finally:
            self._note(*self.engines.notes)
        self._spec = spec
        self.label = f"{self._choice.network} {self._engine.label}"
        self.notes.append(f"{spec}: {self.label} ({self._choice.why})")
        if spec.surfaces and not self._engine.takes_surfaces:
            self._note(LANDED)
        if cache_folder() is None:
            self._note(NO_CACHE)

    def _count(self, spared: float) -> None:
        self.spared += spared

    def _note(self, *lines: str) -> None:
        self.notes += [line for line in lines if line not in self.notes]

    def _close_retired(self) -> None:
        """Frees engines; of those whose results are still out, what isn't these results' memory."""
        for engine in self._retired.copy():
            out = engine.leased > 0
            try:
                self._attempt(engine.close)
            except RuntimeError:
                if not out:
                    raise
            else:
                self._retired.remove(engine)

    def _attempt(self, last: Callable[[], None]) -> None:
        """Ends something; a device that can't do even that takes nothing from the results."""
        try:
            last()
        except DeviceError as error:
            self._note(f"an engine could not be freed ({error})")

    def close(self) -> None:
        """Frees the engines. Raises RuntimeError when a result was never released."""
        engines = [*self._retired, *([self._engine] if self._engine else [])]
        self._retired, self._engine, self._spec = [], None, None
        self._tickets.clear()
        for engine in engines:
            self._attempt(engine.close)
        while self._kept:
            self._kept.popleft().release()
        self._attempt(self.engines.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """As `close`; after an error a frame that it left unreleased is no second one."""
        with suppress(RuntimeError) if error else nullcontext():
            self.close()


class Upscaler:
    """Upscales single pictures; keeps an engine for each of the last few sizes.

    A picture is one of
        grey    (rows, columns) uint8, or uint16 of `depth` bits
        colour  (rows, columns, 3) BGR as OpenCV's, uint8 or uint16 (always 16 bits)
        planes  a tuple (Y, U, V) of one dtype; 4:2:0, 4:2:2 or 4:4:4 by the shapes, chroma location left

    and the result is of the same kind and dtype, `scale` times as large each way. Colour goes through full-range BT.601
    (JFIF's, OpenCV's YCrCb), where every colour has a place: nothing clips, grey stays grey, and the way there and back
    alone costs up to two codes in 8 bits. Values of Y, U, V are taken as they are, whatever matrix and range they mean.

    Args:
        scale: 2, 3 or 4.
        network: a name of `vsr.networks.NETWORKS`, or "auto".
        model: a luma ONNX of one's own instead.
        weights: "clean", or "stream" for frames of video that was strongly coded; "auto" is clean.
        backend: "tensorrt", "pytorch", "openvino" or "auto", the first of these that works.
        devices: the GPU, by CUDA's number; the first where there are several.
        precision: "int8", "bf16", "fp16", "float32", or "auto" for the fastest that machine, depth and network have.
        threads: of the network; 0 for one a core.
        streams: frames at a time on the CPU; 1 gives all threads to one.
        memory: bytes above which a picture is cut into tiles; 0 for half of what is free.

    Raises:
        UsageError: (also ValueError) arguments that can't be meant, or that this machine can't do.
        InputError: (also ValueError) a model that breaks the contract.
        MemoryLimitError: (also MemoryError) no tile is small enough.

    Attributes:
        label: network, backend and the precision that ran last.
        notes: why it isn't a better one.
    """

    def __init__(
        self,
        *,
        scale: int = 2,
        network: str = "auto",
        model: Path | str | None = None,
        weights: Weights = "auto",
        backend: Backend = "auto",
        devices: tuple[int, ...] = (),
        precision: Precision = "auto",
        threads: int = 0,
        streams: int = 0,
        memory: int = 0,
    ) -> None:
        self.settings = EngineSettings(
            scale=scale,
            network=network,
            model=None if model is None else Path(model),
            weights=weights,
            backend=backend,
            devices=devices,
            precision=precision,
            threads=threads,
            streams=streams,
            memory=memory,
        )
        self._begin()

    @classmethod
    def of(cls, settings: EngineSettings) -> Self:
        """One with settings that exist already; raises as the class does."""
        upscaler = cls.__new__(cls)
        upscaler.settings = settings
        upscaler._begin()
        return upscaler

    def _begin(self) -> None:
        self._opener = Engines(self.settings)
        self.label, self.notes = "", self._opener.notes
        self._engines: OrderedDict[FrameSpec, tuple[ModelChoice, Engine]] = OrderedDict()

    @overload
    def __call__(self, picture: Picture, *, depth: int | None = None) -> Picture: ...
    @overload
    def __call__(self, picture: Planes, *, depth: int | None = None) -> Planes: ...
    def __call__(self, picture: Picture | Planes, *, depth: int | None = None) -> Picture | Planes:
        """The picture, upscaled, in memory of its own.

        Args:
            depth: bits of a uint16 grey picture or of uint16 planes, 9 to 16; default 16.

        Raises:
            ValueError: shapes, dtypes or depth that are none of the above.
        """
        if isinstance(picture, tuple):
            return self._planes(picture, depth)
        if picture.ndim == 2:
            return self._planes((picture,), depth)[0]
        return self._colour(picture)

    def _planes(self, planes: Planes, depth: int | None) -> Planes:
        format = format_of(planes, depth)
        rows, columns = planes[0].shape
        dense = cast(Planes, tuple(np.ascontiguousarray(plane) for plane in planes))
        frame = Frame(format=format, width=columns, height=rows, planes=dense)
        width, height = columns * self.settings.scale, rows * self.settings.scale
        out = format.views(np.empty(format.nbytes(width, height), np.uint8), width, height)
        while True:
            choice, engine = self._engine(FrameSpec.of(frame))
            try:
                engine.wait(engine.submit(frame, out))
                return out
            except DeviceError as error:
                self._opener.failed(choice, error)
                del self._engines[FrameSpec.of(frame)]
                with suppress(DeviceError):  # whatever it says more of its end
                    engine.close()

    def _colour(self, picture: Picture) -> Picture:
        return joined(self._planes(split(picture), None))

    def _engine(self, spec: FrameSpec) -> tuple[ModelChoice, Engine]:
        if spec not in self._engines:
            if len(self._engines) == ENGINES_KEPT:
                _, (_, oldest) = self._engines.popitem(last=False)
                oldest.close()
            self._engines[spec] = self._opener.open(spec)
        self._engines.move_to_end(spec)
        choice, engine = self._engines[spec]
        self.label = f"{choice.network} {engine.label}"
        return choice, engine

    def close(self) -> None:
        """Frees the engines; the next picture opens new ones."""
        while self._engines:
            self._engines.popitem()[1][1].close()
        self._opener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
