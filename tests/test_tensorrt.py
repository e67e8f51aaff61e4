"""NVIDIA's parser and builder take the whole-frame description of every model that ships, at every edge."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import load_model

import tensorrt_cpu
from strong import luma_model, spec
from vsr.backends import cache_folder
from vsr.graph import describe
from vsr.models import LumaModel, models_folder

pytestmark = pytest.mark.slow
SHIPPED = sorted(models_folder().glob("*.onnx"))


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


def build(environment: dict[str, str], *paths: Path) -> list[str]:
    program = [sys.executable, tensorrt_cpu.__file__, *map(str, paths)]
    run = subprocess.run(program, env=environment, check=True, capture_output=True, text=True, timeout=600)
    names = tuple(f"{path.stem}: " for path in paths)
    return [line for line in run.stdout.splitlines() if line.startswith(names)]  # the parser's log goes there too


def test_every_shipped_model_builds(environment: dict[str, str], tmp_path: Path) -> None:
    paths = []
    for path in SHIPPED:
        proto = load_model(path)
        facts = {entry.key: entry.value for entry in proto.metadata_props}
        model = LumaModel(proto=proto, scale=int(facts["vsr.scale"]), radius=None, peak=float(facts["vsr.peak"]))
        for depth in [8] if facts["vsr.precision"] == "int8" else [8, 10]:
            described = describe(model, spec("420", depth, (66, 46)), edges="tensorrt")
            paths.append(tmp_path / f"{path.stem}_{depth}.onnx")
            paths[-1].write_bytes(described.SerializeToString())
    results = build(environment, *paths)
    assert len(results) == len(paths)
    wrong = [line for line in results if not re.search(r"plan of \d{5,} bytes$", line)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("chroma", ["422", "444", "grey"])
def test_other_formats_build(environment: dict[str, str], tmp_path: Path, chroma: str) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(describe(luma_model(3), spec(chroma, 12, (33, 31)), edges="tensorrt").SerializeToString())
    (result,) = build(environment, path)
    assert "plan of" in result


def test_what_tensorrt_cant_take_is_seen(environment: dict[str, str], tmp_path: Path) -> None:
    """The check can fail: uint8 anywhere but at the edges is refused."""
    model = describe(luma_model(2), spec("grey", 8), edges="planes")
    assert model.graph.node[-1].op_type == "DepthToSpace"
    path = tmp_path / "planes.onnx"
    path.write_bytes(model.SerializeToString())
    (result,) = build(environment, path)
    assert "plan of" not in result
