"""vsr's own builder, with NVIDIA's parser and builder: every model that ships, in every precision, at every edge."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper, load_model, numpy_helper, save_model

import tensorrt_cpu
from strong import luma_model
from vsr.backends import cache_folder
from vsr.models import models_folder
from vsr.settings import TILINGS

pytestmark = pytest.mark.slow
SHIPPED = sorted(models_folder().glob("*.onnx"))
PACKAGE = Path(__file__).resolve().parent.parent / "vsr" / "backends" / "tensorrt"
CLASSES = {  # what the package calls TensorRT's objects
    "trt": "",
    "_trt": "",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "timings": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "inspector": "EngineInspector",
}
# Names that were looked up, one by one, in the wheel tensorrt_cu13_bindings 10.16.1.11.
IN_10_16 = set(Path(__file__).with_name("tensorrt_10_16_names.txt").read_text().split())


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    folder = cache_folder({**os.environ, "VSR_CACHE": ""})  # the user's own, kept between runs
    if folder is None:
        pytest.skip("no cache folder to keep TensorRT in")
    if sys.platform != "linux":
        pytest.skip("the wheels are Linux's")
    try:
        return {**os.environ, **tensorrt_cpu.install(folder / "tensorrt-11.4")}
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"NVIDIA's parser can't be had here: {output.strip().splitlines()[-1]}")


def job(model: Path, precision: str = "fp16", frames: tuple[str, int, int, int] = ("420", 8, 66, 46)) -> dict[str, Any]:
    return {"model": str(model), "frames": frames, "precision": precision}


def random_model(folder: Path, **options: Any) -> Path:
    """A model by the contract of those that ship."""
    model = luma_model(options.pop("scale", 2), **options)
    helper.set_model_props(model.proto, {"vsr.scale": str(model.scale), "vsr.peak": str(model.peak)})
    save_model(model.proto, folder / "random.onnx")
    return folder / "random.onnx"


def test_every_shipped_model_builds(environment: dict[str, str]) -> None:
    jobs = []
    for path in SHIPPED:
        if path.stem.endswith("_int8"):
            jobs.append(job(path, "int8"))
        else:
            kinds = [("float32", 8), ("fp16", 10), ("float32", 10), ("fp16", 8)]
            kinds = kinds if path.stem.endswith("x2") else kinds[:2]
            jobs += [job(path, precision, ("420", depth, 66, 46)) for precision, depth in kinds]
    answers = tensorrt_cpu.asked(environment, jobs)
    wrong = [f"{job}: {answer}" for job, answer in zip(jobs, answers, strict=True) if answer.get("plan", 0) < 10_000]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("precision", ["float32", "fp16", "int8"])
def test_other_formats_and_odd_sizes_build(environment: dict[str, str], tmp_path: Path, precision: str) -> None:
    model = random_model(tmp_path, scale=3, int8=precision == "int8")
    jobs = [job(model, precision, (chroma, 12, 33, 31)) for chroma in ("420", "422", "444", "grey")]
    assert all("plan" in answer for answer in tensorrt_cpu.asked(environment, jobs))


SIZES = ((64, 36), (128, 72), (640, 360))


def test_every_shipped_model_builds_for_a_range_of_sizes(environment: dict[str, str]) -> None:
    jobs = []
    for path in SHIPPED:
        if path.stem.endswith("x2"):
            jobs += [
                job(path, "fp16"),
                job(path, "float32", ("420", 10, 64, 36)),
                job(path, "fp16", ("444", 8, 64, 36)),
            ]
        elif path.stem.endswith("_int8"):
            jobs.append(job(path, "int8"))
    answers = tensorrt_cpu.asked(environment, [{**job, "settings": {"sizes": SIZES}} for job in jobs])
    wrong = [f"{job}: {answer}" for job, answer in zip(jobs, answers, strict=True) if answer.get("plan", 0) < 10_000]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("precision", ["float32", "fp16", "int8"])
def test_other_formats_build_for_a_range_of_sizes(environment: dict[str, str], tmp_path: Path, precision: str) -> None:
    model = random_model(tmp_path, scale=3, int8=precision == "int8")
    frames = [(chroma, depth, 64, 36) for chroma in ("420", "422", "444", "grey") for depth in (8, 12)]
    odd = {"sizes": ((33, 31), (65, 37), (127, 73))}
    jobs = [{**job(model, precision, what), "settings": {"sizes": SIZES}} for what in frames]
    jobs += [{**job(model, precision, what), "settings": odd} for what in frames if what[1] == 8]
    wrong = [answer for answer in tensorrt_cpu.asked(environment, jobs) if "plan" not in answer]
    assert not wrong, "\n".join(map(str, wrong))


def test_a_decoders_surfaces_build(environment: dict[str, str]) -> None:
    """NV12 and P010 at the input."""
    models = [(path, "int8" if path.stem.endswith("_int8") else "fp16") for path in SHIPPED if "m4c16" in path.stem]
    jobs = [
        {**job(path, precision, ("420", depth, 66, 46)), "surfaces": True}
        for path, precision in models
        for depth in (8, 10)
    ]
    jobs += [{**each, "frames": (*each["frames"][:2], 64, 36), "settings": {"sizes": SIZES}} for each in jobs]
    assert jobs
    wrong = [answer for answer in tensorrt_cpu.asked(environment, jobs) if answer.get("plan", 0) < 10_000]
    assert not wrong


def test_it_builds_with_every_setting(environment: dict[str, str], tmp_path: Path) -> None:
    settings: list[dict[str, Any]] = [
        {"tiling": "full", "level": 5, "workspace": 1 << 24},
        {"hardware": "ampere+"},
        {"hardware": "same-capability", "level": 0},
    ]
    model = random_model(tmp_path)
    for answer in tensorrt_cpu.asked(environment, [{**job(model), "settings": chosen} for chosen in settings]):
        assert answer["plan"] > 10_000


def test_progress_rises_and_a_timing_cache_that_is_none_is_put_up_with(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (answer,) = tensorrt_cpu.asked(environment, [job(random_model(tmp_path))])
    shares = answer["shares"]
    assert len(shares) > 50
    assert all(before <= after for before, after in pairwise(shares))
    assert shares[0] == 0
    assert shares[-1] == 1
    assert answer["timing"] > 0


def test_what_progress_raises_ends_the_build(environment: dict[str, str], tmp_path: Path) -> None:
    stopped, whole = tensorrt_cpu.asked(environment, [{**job(random_model(tmp_path)), "stop": 9}, job(SHIPPED[0])])
    assert stopped["error"] == "KeyboardInterrupt"
    assert "plan" in whole, "the process went on"


def test_why_no_plan_was_built_is_said(environment: dict[str, str], tmp_path: Path) -> None:
    """A plan for any version needs a library that isn't here: TensorRT's own words reach the error."""
    asked = {**job(random_model(tmp_path)), "settings": {"any_version": True}}
    (answer,) = tensorrt_cpu.asked(environment, [asked])
    assert answer["error"] == "PlanError"
    assert "libnvinfer_lean" in answer["text"]


def test_what_tensorrt_cant_take_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    """The check can fail: uint8 anywhere but at the edges is refused."""
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 4, 8, 8]) for name in ("a", "b")]
    node = helper.make_node("DepthToSpace", ["a"], ["b"], blocksize=2, mode="CRD")
    graph = helper.make_graph([node], "uint8", ends[:1], ends[1:])
    save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "uint8.onnx"
    )
    (answer,) = tensorrt_cpu.asked(environment, [{"model": str(tmp_path / "uint8.onnx")}])
    assert answer["error"] in ("InputError", "PlanError")
    assert len(answer["text"]) > 40


@pytest.mark.parametrize("kind", ["zero points", "no zero points"])
def test_a_model_quantised_to_uint8_is_refused_by_name(environment: dict[str, str], tmp_path: Path, kind: str) -> None:
    """TensorRT builds it and saturates at 127."""
    model = load_model(random_model(tmp_path, int8=True))
    for node in model.graph.node:
        if kind == "no zero points" and node.input[-1].startswith("zero") and not node.input[-1].startswith("zeros"):
            node.input.pop()
    for tensor in model.graph.initializer:
        if tensor.name.startswith("zero") and not tensor.name.startswith("zeros"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("uint8"), tensor.name))
    save_model(model, tmp_path / "u8.onnx")
    answers = tensorrt_cpu.asked(environment, [job(tmp_path / "u8.onnx", "int8")])
    assert [answer["error"] for answer in answers] == ["InputError"]
    assert "quantised to uint8" in answers[0]["text"]


def touched() -> set[str]:
    """Every name of TensorRT's that the package uses, "Class.attribute" or "NAME" of the module."""
    names = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            chain = ast.unparse(node).split(".") if isinstance(node, ast.Attribute) else []
            owner = max((index for index, part in enumerate(chain[:-1]) if part in CLASSES), default=None)
            if owner is not None and all(part.isidentifier() for part in chain):
                names.add(".".join([CLASSES[chain[owner]], *chain[owner + 1 :]]).strip("."))
    levels = {f"TilingOptimizationLevel.{level.upper()}" for level in TILINGS}
    return levels | {name for name in names if not name.startswith("__name__") and ".__" not in name}


def test_every_name_used_exists_in_both_versions(environment: dict[str, str]) -> None:
    used = touched()
    assert len(used) > 40, "the walk finds what is used"
    (missing,) = tensorrt_cpu.asked(environment, [{"names": sorted(used)}])
    assert missing == [], "not in 11.4"
    assert used <= IN_10_16 | {name.partition(".")[0] for name in IN_10_16}, "look it up in 10.16"
    (invented,) = tensorrt_cpu.asked(environment, [{"names": ["Builder.build_cuda_engine"]}])
    assert invented == ["Builder.build_cuda_engine"], "the check can fail"
