"""benchmarks/gpu without a GPU: all of it runs in small, what it counts is right, and no failure ends a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.gpu.case import FRAMES, Case, frames  # noqa: E402
from benchmarks.gpu.floors import Work, work  # noqa: E402
from benchmarks.gpu.parts import model  # noqa: E402
from benchmarks.gpu.peers import WholeFrame, inputs  # noqa: E402
from benchmarks.gpu.rates import pinned  # noqa: E402
from benchmarks.gpu.results import OutOfTimeError, Results  # noqa: E402
from benchmarks.gpu.summary import reached  # noqa: E402
from benchmarks.gpu.timeline import bars, drawing, svg  # noqa: E402
from vsr.backends.pytorch.evaluator import Evaluator  # noqa: E402
from vsr.device.fake import FakeDevice  # noqa: E402
from vsr.device.memory import PinnedMemory  # noqa: E402
from vsr.graph import describe  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
LACKING = ("av", "openvino", "pycuda", "tensorrt")  # on a bare CUDA machine


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python that has no more than such a machine's."""
    folder = tmp_path_factory.mktemp("bare")
    for name in LACKING:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} there', name='{name}')")
    return {**os.environ, "PYTHONPATH": str(folder), "REQUIRE_GPU": ""}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, bare: dict[str, str]) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("gpu") / "result.json"
    words = ["--device", "cpu-fake", "--each", "0.005", "--networks", "m4c8", "u2-m4c32", "--out", str(out)]
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *words],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"written to {out}" in shown.stdout
    return dict(json.loads(out.read_text()))


@pytest.mark.slow
def test_every_part_runs_without_a_gpu(result: dict[str, Any]) -> None:
    parts = result["parts"]
    assert not result["errors"]
    assert result["machine"]["layer"] == "fake"
    cases = {name for name in parts if name.startswith("pytorch: ")}
    assert len(cases) == 1 + 2 * 2 * 2  # the one that must reach most; networks, sizes, depths
    assert parts.keys() - cases == {
        "limits",
        "timeline",
        "timeline without graphs",
        "layers",
        "slots",
        "memory",
        "beside",
    }
    assert parts["pytorch: m4c8 48x32 to 96x64 10 bit"]["ways"].keys() == {
        "infer",
        "copies",
        "end to end, pinned",
        "end to end, pageable",
    }
    assert parts["slots"].keys() >= {"1 slots", "4 slots"}
    assert parts["beside"]["codes_apart"] == 0
    assert len(parts["timeline"]["frames_ms"]) == 60
    assert len(list(reached(result))) == 6


@pytest.mark.slow
def test_a_result_is_drawn(result: dict[str, Any]) -> None:
    drawn = ElementTree.fromstring(drawing(result))
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"slot 1", "slot 3", "upload", "compute", "download"} <= set(texts)


@pytest.mark.slow
def test_gpu_tests_can_be_collected_on_a_bare_machine(bare: dict[str, str]) -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "test-gpu", "PYTEST=--"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = printed.stdout.rpartition(" -- ")[2].split()
    assert "tests/test_hardware.py" not in files  # it decodes
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "gpu", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout
    assert "test_device.py" in shown.stdout


def test_training_starts_on_a_bare_machine(bare: dict[str, str]) -> None:
    program = [sys.executable, "-c", "import vsr.cli.train, vsr.training.train"]
    shown = subprocess.run(program, cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


def test_bars_stand_in_the_row_that_is_free() -> None:
    found = bars([(0, 1, 3, 4), (1, 2, 6, 7), (4, 5, 9, 10)])
    assert [bar.row for bar in found[::3]] == [0, 1, 0]
    compute = found[4]
    assert (compute.step, compute.start, compute.turn, compute.end) == ("compute", 2, 3, 6)
    assert svg(found, "a < b").count("<rect") > 9


def test_work_is_that_of_the_table() -> None:
    case = Case(network="m4c16", width=1920, height=1080)
    counted = work(describe(model(case), case.spec), case.spec, 2)
    pixels = 1920 * 1080
    chroma = 2 * (pixels // 4) * 4 * 25
    assert counted.flops / 2 - chroma == pytest.approx(9936 * pixels, rel=0.01)
    assert counted.planes == 1.5 * pixels + 6 * pixels
    body = 2 * (16 + 4 * 32 + 16 + 1 + 4) * pixels  # half in and out of six layers
    assert counted.layers == pytest.approx(body + 4 * 5 * pixels // 2 + counted.planes, rel=0.02)
    assert Work(100, 10, 30).milliseconds(10, 1000) == (1000, 3000)
    blocks = Case(network="u2-m4c32", width=1920, height=1080)
    assert work(describe(model(blocks), blocks.spec), blocks.spec, 2).flops / 2 == pytest.approx(
        10656 * pixels + chroma, rel=0.02
    )


@pytest.mark.parametrize("network", ["m4c8", "u2-m4c32", "espcn", "fsrcnn"])
def test_the_torch_users_module_does_the_same(network: str, one_thread: None) -> None:
    case = Case(network=network, width=24, height=16)
    given = inputs(case, "cpu")
    with torch.inference_mode():
        got = WholeFrame(case, model(case).proto, half=False)(*given)
    wanted = Evaluator(describe(model(case), case.spec))(*given)
    for one, other in zip(got, wanted, strict=True):
        assert int((one.int() - other.int()).abs().max()) <= 1
        assert float((one != other).float().mean()) < 0.01


def test_a_failing_part_is_kept_and_the_next_one_runs(tmp_path: Path) -> None:
    results = Results(tmp_path / "new" / "r.json", {"machine": "toy"}, seconds=60)

    def broken(found: dict[str, Any]) -> None:
        found["before"] = 1
        raise RuntimeError("no such kernel")

    def endless(found: dict[str, Any]) -> None:
        while True:
            time.sleep(0.01)

    results.part("broken", broken, 1)
    results.part("endless", endless, 0.05)
    results.part("fine", lambda found: found.update(a=1), 1)
    kept = json.loads((tmp_path / "new" / "r.json").read_text())
    assert kept["parts"]["broken"]["before"] == kept["parts"]["fine"]["a"] == 1
    assert "RuntimeError: no such kernel" in kept["errors"]["broken"]
    assert OutOfTimeError.__name__ in kept["errors"]["endless"]
    assert kept["errors"].keys() == {"broken", "endless"}


def test_pinned_frames_are_uploaded_from_where_they_are() -> None:
    case, device = Case(network="m4c8", width=24, height=16), FakeDevice(1)
    memory = PinnedMemory(device)
    given = frames(case, None)
    feed = pinned(given, memory)
    for _ in range(2 * FRAMES):
        frame = feed()
        assert frame.lease is not None
        assert memory.owns(frame.lease.buffer)
        assert any(np.array_equal(frame.planes[0], one.planes[0]) for one in given)
        frame.release()
    memory.close()


def test_what_has_no_time_left_is_said(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.json", {}, seconds=0)
    results.part("late", lambda found: found.update(a=1), 5)
    assert "no time was left" in results.content["errors"]["late"]
    assert "a" not in results.content["parts"]["late"]


@pytest.mark.parametrize("depth", [8, 10])
def test_frames_are_cut_from_what_was_packed(tmp_path: Path, depth: int) -> None:
    pack = pytest.importorskip("benchmarks.gpu.pack")
    pack.write_frames(ROOT / "demo" / "demo.mp4", tmp_path / "frames.npz", size=(96, 64))
    case = Case(network="m4c8", width=40, height=24, depth=depth)
    found = frames(case, tmp_path / "frames.npz")
    assert len(found) == FRAMES
    assert found[0].planes[0].max() > 0.5 * case.spec.format.white
    assert not np.array_equal(found[0].planes[0], found[1].planes[0])


def test_too_much_to_send_is_refused() -> None:
    pack = pytest.importorskip("benchmarks.gpu.pack")
    assert pack.check({"a": 1 << 20, "b": 62 << 20}) == "a 1.0 MiB, b 62.0 MiB: 63.0 of at most 64 MiB"
    with pytest.raises(SystemExit, match="more than the 64"):
        pack.check({"a": 1 << 20, "b": 63 << 20})
