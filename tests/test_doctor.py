"""vsr-doctor does what it says, and its checks can fail."""

from __future__ import annotations

import json

import pytest

from vsr.cli.doctor import main
from vsr.doctor import Check, attempt, round_trip, run_graph, works
from vsr.errors import Unavailable, VsrError


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
