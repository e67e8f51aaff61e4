"""The stage between decoder and encoder, and the class for single pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from vsr.backends import open_engine
from vsr.backends.engine import Engine, Ticket
from vsr.frame import Frame
from vsr.graph import FrameSpec
from vsr.models import resolve
from vsr.settings import EngineSettings


class UpscaleStage:
    """Frame to frame at `settings.scale`: keeps the engine full, yields in order, opens another one at a new format.

    Results carry the time, index and facts of their inputs; whoever takes one releases it.
    """

    def __init__(self, settings: EngineSettings) -> None:
        settings.validate()
        self.settings = settings
        self.label = ""
        self.notes: list[str] = []
        self._spec: FrameSpec | None = None
        self._engine: Engine | None = None
        self._retired: list[Engine] = []

    def frames(self, upstream: Iterable[Frame]) -> Iterator[Frame]:
        flight: deque[Ticket] = deque()
        for frame in upstream:
            if self._engine is None or FrameSpec.of(frame) != self._spec:
                if self._engine is not None:
                    yield from self._engine.drain()
                    flight.clear()
                self._open(FrameSpec.of(frame))
            engine = self._engine
            assert engine is not None
            if len(flight) == engine.capacity:
                yield engine.wait(flight.popleft())
            flight.append(engine.submit(frame))
            for result in engine.ready():
                flight.popleft()
                yield result
        if self._engine is not None:
            yield from self._engine.drain()

    def _open(self, spec: FrameSpec) -> None:
        if self._engine is not None:
            self._retired.append(self._engine)
        choice = resolve(self.settings, spec.format.depth)
        self._engine, self._spec = open_engine(self.settings, choice, spec), spec
        self.label = f"{choice.network} {self._engine.label}"
        self.notes.append(f"{self.label} ({choice.why})")

    def close(self) -> None:
        """Frees the engines. Raises RuntimeError when a result was never released."""
        engines = [*self._retired, *([self._engine] if self._engine else [])]
        self._retired, self._engine, self._spec = [], None, None
        for engine in engines:
            engine.close()
