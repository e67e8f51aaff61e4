"""OpenVINO against the evaluator: each precision really runs, and nothing but the convolutions is less than float32."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper

from strong import assert_close, chosen, frame, luma_model, planes, spec
from vsr.backends.openvino import OpenVINOEngine
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.errors import InputError
from vsr.frame import Plane
from vsr.graph import FrameSpec, describe
from vsr.models import Exact, LumaModel, processor_flags

BF16 = pytest.mark.skipif(not {"avx512_bf16", "amx_bf16"} & processor_flags(), reason="this processor has no bfloat16")
FORMATS = [("420", 8), ("422", 8), ("444", 10), ("420", 10), ("420", 16), ("grey", 12)]


def upscaled(folder: Path, model: LumaModel, precision: Exact, what: FrameSpec, seed: int = 0) -> list[Plane]:
    engine = OpenVINOEngine(chosen(folder, model, precision), what, threads=2)
    assert precision in engine.label
    result = engine.wait(engine.submit(frame(what, seed)))
    copies = [plane.copy() for plane in result.planes]
    result.release()
    engine.close()
    return copies


def by_torch(model: LumaModel, what: FrameSpec, seed: int = 0) -> list[Plane]:
    inputs = [torch.from_numpy(plane[None, None]) for plane in planes(what, seed)]
    return [result[0, 0].numpy() for result in Evaluator(describe(model, what))(*inputs)]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("chroma", "depth"), FORMATS)
@pytest.mark.parametrize("size", [(48, 30), (37, 29)])
def test_float32(tmp_path: Path, scale: int, chroma: str, depth: int, size: tuple[int, int]) -> None:
    model, what = luma_model(scale), spec(chroma, depth, size)
    got, expected = upscaled(tmp_path, model, "float32", what), by_torch(model, what)
    assert_close(got[:1], expected[:1], codes=1, share=0.001 if depth < 16 else 0.05)
    assert_close(got[1:], expected[1:])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(48, 30), (37, 29)])
def test_int8(tmp_path: Path, scale: int, size: tuple[int, int]) -> None:
    model, what = luma_model(scale, channels=16, int8=True), spec("420", 8, size)
    got, expected = upscaled(tmp_path, model, "int8", what), by_torch(model, what)
    assert_close(got[:1], expected[:1], codes=1, share=0.005)  # where a sum lies between two codes
    assert_close(got[1:], expected[1:])


@BF16
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("scale", [2, 3])
def test_bf16_rounds_in_the_convolutions_and_nowhere_else(tmp_path: Path, depth: int, scale: int) -> None:
    """Against the same graph with casts to bfloat16 at each convolution; without them three times as much differs."""
    model, what = luma_model(scale, channels=16), spec("420", depth, (48, 30))
    got = upscaled(tmp_path, model, "bf16", what)
    rounded = LumaModel(proto=with_bf16(model.proto), scale=scale, radius=model.radius, peak=1)
    # Sums in another order end in the neighbouring bfloat16 now and then. A tail in bfloat16 would be off everywhere.
    assert_close(got[:1], by_torch(rounded, what)[:1], codes=1 << depth - 8, share=0.05 if depth == 8 else 0.15)
    assert_close(got[1:], by_torch(model, what)[1:])


@pytest.mark.parametrize(
    ("precision", "depth"),
    [*(pytest.param("bf16", d, marks=BF16) for d in (8, 10, 16)), *(("float32", d) for d in (8, 10, 16)), ("int8", 8)],
)
@pytest.mark.parametrize("size", [(48, 30), (37, 29)])
def test_skip_and_tail_are_exact(tmp_path: Path, precision: Exact, depth: int, size: tuple[int, int]) -> None:
    """A network of zero weights is pixel repeat, to the bit, at any precision."""
    model, what = luma_model(2, zero=True, int8=precision == "int8"), spec("grey", depth, size)
    got = upscaled(tmp_path, model, precision, what)
    assert_close(got, [plane.repeat(2, 0).repeat(2, 1) for plane in planes(what)])


def with_bf16(proto: ModelProto) -> ModelProto:
    """Convolutions as bfloat16 hardware computes them: factors rounded, float32 sums, result rounded."""
    result = ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]

    def rounded(name: str, to: str) -> None:
        result.graph.node.append(helper.make_node("Cast", [name], [f"{to}.bf16"], to=TensorProto.BFLOAT16))
        result.graph.node.append(helper.make_node("Cast", [f"{to}.bf16"], [to], to=TensorProto.FLOAT))

    for node in proto.graph.node:
        if node.op_type == "Conv":
            name = node.output[0]
            rounded(node.input[0], f"{name}.x")
            rounded(node.input[1], f"{name}.w")
            inputs = [f"{name}.x", f"{name}.w", node.input[2]]
            result.graph.node.append(helper.make_node("Conv", inputs, [f"{name}.y"]))
            rounded(f"{name}.y", name)
        else:
            result.graph.node.append(node)
    return result


def test_compiled_models_are_kept_and_damage_does_no_harm(tmp_path: Path) -> None:
    what, cache = spec(), tmp_path / "cache"
    cache.mkdir()
    choice = chosen(tmp_path, luma_model(), "float32")
    OpenVINOEngine(choice, what, threads=1, cache=cache).close()
    kept = sorted(cache.glob("*.blob"))
    assert len(kept) == 2, "luma and chroma"
    for blob in kept:
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:1000])
    engine = OpenVINOEngine(choice, what, threads=1, cache=cache)
    engine.wait(engine.submit(frame(what))).release()
    engine.close()


def test_a_network_that_only_takes_even_sizes(tmp_path: Path) -> None:
    model = luma_model()
    model.proto.graph.node[0].output[0] = "deep"
    model.proto.graph.node.insert(1, helper.make_node("SpaceToDepth", ["deep"], ["padded_deep"], blocksize=2))
    model.proto.graph.node.insert(2, helper.make_node("DepthToSpace", ["padded_deep"], ["padded"], blocksize=2))
    with pytest.raises(InputError, match=r"doesn't take gray 41x24: "):
        OpenVINOEngine(chosen(tmp_path, model, "float32"), spec("grey", 8, (41, 24)))


def test_openvino_loads_without_its_telemetry() -> None:
    program = (
        "import sys; from vsr.backends import import_openvino; import_openvino();"
        "sys.exit(any(name.startswith('openvino_telemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("threads", [1, 3, 6])
def test_threads_change_speed_only(tmp_path: Path, threads: int) -> None:
    model, what = luma_model(), spec()
    engine = OpenVINOEngine(chosen(tmp_path, model, "float32"), what, threads=threads)
    assert f"{threads} thread" in engine.label
    frames = [frame(what, index) for index in range(engine.capacity)]
    for one in frames:
        engine.submit(one)
    for one, result in zip(frames, engine.drain(), strict=True):
        assert np.array_equal(result.planes[1], by_torch(model, what, one.index)[1])
        result.release()
    engine.close()


def test_one_stream_takes_all_threads(tmp_path: Path) -> None:
    choice, what = chosen(tmp_path, luma_model(2), "float32"), spec("420", 8, (24, 16))
    for threads, streams, capacity in ((4, 1, 2), (4, 2, 3), (2, 0, 3)):
        engine = OpenVINOEngine(choice, what, threads=threads, streams=streams)
        assert engine.capacity == capacity
        engine.close()


SIGNALLED = """
import os, signal, sys, threading
from pathlib import Path
from strong import chosen, luma_model, spec
from vsr.backends.openvino import OpenVINOEngine

signal.signal(signal.SIGUSR1, lambda number, frame: print("heard"))
engines = [OpenVINOEngine(chosen(Path(sys.argv[1]), luma_model(2), "float32"), spec())]
thread = threading.Thread(target=lambda: engines.pop().close())
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_after_an_engine_ended_in_another_thread(tmp_path: Path) -> None:
    """A signal's stack of OpenVINO's is not gone then."""
    program = [sys.executable, "-c", SIGNALLED, str(tmp_path)]
    run = subprocess.run(program, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "heard\n"), run.stderr
