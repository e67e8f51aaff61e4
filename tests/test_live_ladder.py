"""The ladder: which engines stand on it, on a GPU where there is one, what is said of them, and who closes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from live_fakes import FakeClock, FakeEngine, Opening
from strong import spec
from vsr.backends.choice import Engines
from vsr.backends.engine import Engine
from vsr.backends.machine import Machine
from vsr.device.fake import FakeDevice
from vsr.device.protocol import DeviceError
from vsr.errors import UsageError
from vsr.graph import FrameSpec
from vsr.live.ladder import Ladder, Opened, Say, below, opened
from vsr.models import ModelChoice
from vsr.settings import Backend, EngineSettings

WHAT = spec("420", 8, (16, 8), "unspecified")


def test_the_ladder_goes_down_from_the_network_chosen() -> None:
    assert [s.network for s in below(EngineSettings())] == ["m4c8", "cubic"]
    assert [s.network for s in below(EngineSettings(network="m10c16"))] == ["m4c16", "m4c8", "cubic"]
    assert [s.network for s in below(EngineSettings(model=Path("own.onnx")))] == ["m10c16", "m4c16", "m4c8", "cubic"]
    assert all(s.precision == "auto" and s.model is None for s in below(EngineSettings(precision="int8")))
    weights = [s.weights for s in below(EngineSettings(weights="stream"))]
    assert weights == ["stream", "auto"]


def test_a_rung_that_isnt_quicker_or_isnt_there_is_left_out_and_said() -> None:
    opening = Opening(FakeClock(), m4c16=0.01, m4c8=0.02, cubic=0.002)
    ladder = Ladder(EngineSettings(), WHAT, opener=opening, clock=opening.clock)
    assert [rung.name for rung in ladder.rungs] == ["m4c16", "cubic"]
    assert ladder.notes[1] == "m4c8: fake, 20.0 ms a frame, left out: m4c16 is as quick"
    ladder.close()

    def without(settings: EngineSettings, what: FrameSpec, say: Say) -> Opened:
        if settings.network == "m4c8":
            raise UsageError("no weights")
        return opening(settings, what, say)

    ladder = Ladder(EngineSettings(), WHAT, opener=without, clock=opening.clock)
    assert "no rung m4c8: no weights" in ladder.notes
    ladder.close()
    with pytest.raises(UsageError, match="no weights"):
        Ladder(EngineSettings(network="m4c8"), WHAT, opener=without, clock=opening.clock)


def test_a_fixed_ladder_has_one_rung() -> None:
    opening = Opening(FakeClock())
    ladder = Ladder(EngineSettings(), WHAT, fixed=True, opener=opening, clock=opening.clock)
    assert len(ladder.rungs) == len(opening.engines) == 1
    ladder.close()


def test_engines_close_with_what_they_stand_on() -> None:
    closed = list[str]()
    engine = FakeEngine(WHAT, FakeClock())
    found = Opened("m4c16", engine, lambda: closed.append("device"))
    ladder = Ladder(EngineSettings(), WHAT, fixed=True, opener=lambda settings, what, say: found, clock=engine.clock)
    ladder.close()
    assert closed == ["device"]


class Here:
    """A machine of fakes, and what was opened on it; what `breaks` names fails when it is opened."""

    def __init__(self, *, hint: bool = True, tensorrt: str = "", torch: str = "", breaks: tuple[str, ...] = ()) -> None:
        self.clock, self.breaks = FakeClock(), breaks
        self.engines: list[tuple[str, FakeEngine]] = []
        self._machine = Machine(
            hint=lambda: hint, tensorrt=lambda: tensorrt, torch=lambda index: torch, device=lambda index: FakeDevice()
        )

    def ladder(self, backend: Backend, say: Say) -> Ladder:
        opener = partial(opened, engines=partial(Engines, machine=self._machine, open=self._open, check=passes))
        return Ladder(EngineSettings(backend=backend), WHAT, say=say, opener=opener, clock=self.clock)

    def _open(self, settings: EngineSettings, choice: ModelChoice, what: FrameSpec, **_: Any) -> Engine:
        if f"{choice.network} on {choice.runner}" in self.breaks:
            raise DeviceError("cuInit: gone")
        seconds = {"m4c16": 0.01, "m4c8": 0.005, "cubic": 0.001}[choice.network]
        engine = FakeEngine(what, self.clock, seconds)
        engine.label = str(choice.runner)
        self.engines.append((choice.network, engine))
        return engine


def passes(engine: Engine, choice: ModelChoice, what: FrameSpec) -> None:
    """No comparison: fakes repeat pixels."""


@pytest.mark.parametrize(
    ("backend", "here", "runs_on", "first"),
    [
        ("auto", Here(), "tensorrt", "m4c16 fp16: tensorrt"),
        ("auto", Here(tensorrt="not installed"), "pytorch on the GPU", "not tensorrt: not installed"),
        ("auto", Here(hint=False), "openvino", "m4c16"),
        ("tensorrt", Here(), "tensorrt", "m4c16 fp16: tensorrt"),
        ("pytorch", Here(torch="no CUDA"), "pytorch on the CPU", "not pytorch on the GPU: no CUDA"),
        ("auto", Here(breaks=("m4c16 on tensorrt",)), "pytorch on the GPU", "not tensorrt: cuInit: gone"),
    ],
)
def test_the_best_engine_there_is_and_why_not_a_better_one(
    backend: Backend, here: Here, runs_on: str, first: str
) -> None:
    said: list[str] = []
    ladder = here.ladder(backend, said.append)
    assert said == ladder.notes
    assert said[0].startswith(first)
    assert here.engines[0][1].label == runs_on
    ladder.close()


def test_a_backend_that_isnt_here_is_refused() -> None:
    with pytest.raises(UsageError, match="--backend tensorrt: not installed"):
        Here(tensorrt="not installed").ladder("tensorrt", print)


def test_a_rung_that_breaks_is_done_without() -> None:
    here = Here(breaks=("m4c8 on tensorrt",))
    ladder = here.ladder("tensorrt", print)
    assert [rung.name.split()[0] for rung in ladder.rungs] == ["m4c16", "cubic"]
    assert "no rung m4c8: cuInit: gone" in ladder.notes
    ladder.close()


def test_what_was_opened_is_closed_when_the_rest_cant_be() -> None:
    opening, closed = Opening(FakeClock()), list[str]()

    def then_stops(settings: EngineSettings, what: FrameSpec, say: Say) -> Opened:
        if closed or settings.network != "auto":
            raise KeyboardInterrupt
        found = opening(settings, what, say)
        return Opened(found.name, found.engine, lambda: closed.append(found.name))

    with pytest.raises(KeyboardInterrupt):
        Ladder(EngineSettings(), WHAT, opener=then_stops, clock=opening.clock)
    assert closed == ["m4c16"]
