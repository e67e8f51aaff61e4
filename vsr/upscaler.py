"""The stage between decoder and encoder, and the class for single pictures."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast, overload

import numpy as np
import numpy.typing as npt

from vsr.backends import cache_folder, open_engine
from vsr.backends.engine import Engine, Ticket
from vsr.frame import Chroma, Frame, PlanarFormat, Planes
from vsr.graph import FrameSpec
from vsr.models import resolve
from vsr.settings import Backend, EngineSettings, Precision, Weights

Picture = npt.NDArray[Any]
ENGINES_KEPT = 4  # sizes an Upscaler stays ready for
NO_CACHE = "no folder for compiled models can be written, every start compiles them again; VSR_CACHE names another"


class UpscaleStage:
    """Frame to frame at `settings.scale`: keeps the engine full, yields in order, opens another one at a new format.

    Results carry the time, index and facts of their inputs; whoever takes one releases it. Inputs are released here.

    Attributes:
        label: network, backend and the precision that runs, of the latest engine; empty before the first frame.
        notes: one line for each engine opened, and anything else a user should hear.
    """

    def __init__(self, settings: EngineSettings) -> None:
        settings.validate()
        self.settings = settings
        self.label = ""
        self.notes: list[str] = []
        self._spec: FrameSpec | None = None
        self._engine: Engine | None = None
        self._flight: deque[Ticket] = deque()
        self._retired: list[Engine] = []

    def frames(self, upstream: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Raises UsageError, InputError or MemoryLimitError when no engine can be opened for a frame."""
        for frame in upstream:
            if FrameSpec.of(frame) != self._spec:
                try:
                    yield from self._rest()
                    self._open(FrameSpec.of(frame))
                except BaseException:  # also when the consumer leaves: this frame is still ours
                    frame.release()
                    raise
            assert self._engine is not None
            self._flight.append(self._engine.submit(frame))
            if len(self._flight) == self._engine.capacity:
                yield self._engine.wait(self._flight.popleft())
        yield from self._rest()

    def _rest(self) -> Iterator[Frame]:
        while self._flight and self._engine is not None:
            yield self._engine.wait(self._flight.popleft())

    def _open(self, spec: FrameSpec) -> None:
        if self._engine is not None:
            self._retired.append(self._engine)
        idle = [engine for engine in self._retired if not engine.leased]
        self._retired = [engine for engine in self._retired if engine.leased]
        for engine in idle:
            engine.close()
        choice = resolve(self.settings, spec.format.depth)
        self._engine, self._spec = open_engine(self.settings, choice, spec), spec
        self.label = f"{choice.network} {self._engine.label}"
        self.notes.append(f"{spec}: {self.label} ({choice.why})")
        if cache_folder() is None and NO_CACHE not in self.notes:
            self.notes.append(NO_CACHE)

    def close(self) -> None:
        """Frees the engines. Raises RuntimeError when a result was never released."""
        engines = [*self._retired, *([self._engine] if self._engine else [])]
        self._retired, self._engine, self._spec = [], None, None
        self._flight.clear()
        for engine in engines:
            engine.close()


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
        backend: "openvino", "pytorch" or "auto".
        precision: "int8", "bf16", "float32", or "auto" for the fastest that this machine, depth and network have.
        threads: of the network; 0 for one a core.
        memory: bytes above which a picture is cut into tiles; 0 for half of what is free.

    Raises:
        UsageError: (also ValueError) arguments that can't be meant, or that this machine can't do.
        InputError: (also ValueError) a model that breaks the contract.
        MemoryLimitError: (also MemoryError) no tile is small enough.
    """

    def __init__(
        self,
        *,
        scale: int = 2,
        network: str = "auto",
        model: Path | str | None = None,
        weights: Weights = "auto",
        backend: Backend = "auto",
        precision: Precision = "auto",
        threads: int = 0,
        memory: int = 0,
    ) -> None:
        self.settings = EngineSettings(
            scale=scale,
            network=network,
            model=None if model is None else Path(model),
            weights=weights,
            backend=backend,
            precision=precision,
            threads=threads,
            memory=memory,
        )
        self.settings.validate()
        self.label = ""  # network, backend and the precision that ran last
        self._engines: OrderedDict[FrameSpec, tuple[str, Engine]] = OrderedDict()

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
        format = _format_of(planes, depth)
        rows, columns = planes[0].shape
        dense = cast(Planes, tuple(np.ascontiguousarray(plane) for plane in planes))
        frame = Frame(format=format, width=columns, height=rows, planes=dense)
        engine = self._engine(FrameSpec.of(frame))
        width, height = columns * self.settings.scale, rows * self.settings.scale
        out = format.views(np.empty(format.nbytes(width, height), np.uint8), width, height)
        engine.wait(engine.submit(frame, out))
        return out

    def _colour(self, picture: Picture) -> Picture:
        import cv2

        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"a picture is grey (rows, columns), BGR (rows, columns, 3) or a tuple of planes, uint8 or uint16; "
                f"not {picture.dtype} {picture.shape}"
            )
        planes: Any = cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb))
        return cv2.cvtColor(cv2.merge(self._planes(planes, None)), cv2.COLOR_YCrCb2BGR)

    def _engine(self, spec: FrameSpec) -> Engine:
        if spec not in self._engines:
            if len(self._engines) == ENGINES_KEPT:
                _, (_, oldest) = self._engines.popitem(last=False)
                oldest.close()
            choice = resolve(self.settings, spec.format.depth)
            engine = open_engine(self.settings, choice, spec)
            self._engines[spec] = (f"{choice.network} {engine.label}", engine)
        self._engines.move_to_end(spec)
        self.label, engine = self._engines[spec]
        return engine

    def close(self) -> None:
        """Frees the engines; the next picture opens new ones."""
        while self._engines:
            self._engines.popitem()[1][1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _format_of(planes: Planes, depth: int | None) -> PlanarFormat:
    """The format a tuple of planes has. Raises ValueError where it has none."""
    kinds = {plane.dtype for plane in planes}
    if len(planes) not in (1, 3) or kinds not in ({np.dtype(np.uint8)}, {np.dtype(np.uint16)}):
        raise ValueError("planes are (Y, U, V), all uint8 or all uint16")
    bits = depth or 8 * planes[0].itemsize
    if (bits == 8) != (planes[0].itemsize == 1):
        raise ValueError(f"{planes[0].dtype} doesn't hold samples of {bits} bits")
    chromas: list[Chroma] = ["grey"] if len(planes) == 1 else ["444", "422", "420"]
    for chroma in chromas:
        format = PlanarFormat(chroma=chroma, depth=bits)
        rows, columns = planes[0].shape
        if tuple(plane.shape for plane in planes) == format.shapes(columns, rows):
            return format
    raise ValueError(f"planes of {', '.join(str(plane.shape) for plane in planes)} are no 4:2:0, 4:2:2 or 4:4:4")
