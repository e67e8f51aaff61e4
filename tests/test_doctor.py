"""vsr-doctor does what it says, and its checks can fail."""

from __future__ import annotations

import json
from functools import partial

import pytest

from slots import OnFake
from vsr.backends.choice import Engines
from vsr.backends.engine import Engine
from vsr.backends.gpu import Gpu, open_on_gpu
from vsr.backends.half import halved
from vsr.backends.machine import Machine
from vsr.cli.doctor import main
from vsr.device.fake import FakeDevice
from vsr.doctor import Check, attempt, round_trip, run_graph, run_on_gpu, works
from vsr.errors import Unavailable, VsrError
from vsr.graph import FrameSpec, describe
from vsr.models import ModelChoice, load
from vsr.settings import EngineSettings


def test_this_machine_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    by_name = {check["name"]: check for check in answer["checks"]}
    assert answer["works"]
    assert by_name["encoder libx264"]["status"] == by_name["openvino float32"]["status"] == "ok"
    assert not [check for check in by_name.values() if check["status"] == "FAIL"]


def test_a_lossless_encoder_returns_the_same_samples() -> None:
    assert round_trip("ffv1").endswith("equal")


def test_a_poor_result_fails() -> None:
    with pytest.raises(VsrError, match="at least 90 dB"):
        round_trip("libx264", least=90)
    with pytest.raises(VsrError, match="at least 900 dB"):
        run_graph("openvino", "int8", least=900)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(Unavailable, match="not in this build"):
        round_trip("libnothing")


def on_fake(settings: EngineSettings, *, torch: str = "") -> Engines:
    """Engines on the fake device, with torch's executor on the CPU."""

    def open(
        settings: EngineSettings, choice: ModelChoice, spec: FrameSpec, *, gpu: Gpu | None, halvings: int
    ) -> Engine:
        assert gpu is not None
        return open_on_gpu(
            gpu,
            choice,
            spec,
            executor=lambda gpu, choice, spec: OnFake(gpu.device, halved(describe(load(choice), spec))),
        )

    machine = Machine(
        hint=lambda: True, tensorrt=str, torch=lambda index: torch, device=lambda index: FakeDevice(eager=1.0)
    )
    return Engines(settings, machine=machine, open=open, check=lambda engine, choice, spec: None)


def test_a_network_runs_on_a_gpu() -> None:
    assert run_on_gpu("pytorch", on_fake).startswith("one frame upscaled by m4c16 on torch on the fake device")
    with pytest.raises(Unavailable, match="no CUDA"):
        run_on_gpu("pytorch", partial(on_fake, torch="no CUDA"))


def broken() -> str:
    raise OSError("disk on fire")


def missing() -> str:
    raise Unavailable("not installed")


@pytest.mark.parametrize(
    ("do", "needed", "status"),
    [
        (lambda: "done", True, "ok"),
        (missing, False, "--"),
        (missing, True, "FAIL"),
        (broken, False, "FAIL"),
    ],
)
def test_the_status_of_a_check(do: object, needed: bool, status: str) -> None:
    assert callable(do)
    assert attempt("it", do, needed=needed).status == status


def test_only_what_is_needed_decides() -> None:
    fine = Check(name="a", status="ok", done="", seconds=0, needed=True)
    extra = Check(name="b", status="FAIL", done="", seconds=0, needed=False)
    assert works([fine, extra])
    assert not works([fine, Check(name="c", status="FAIL", done="", seconds=0, needed=True)])
