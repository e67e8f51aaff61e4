"""What strong tests share: samples where bugs live, one comparison that explains itself, models made on the spot."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from vsr.frame import Colour, Frame, PlanarFormat, Planes, TrackFacts
from vsr.graph import FrameSpec
from vsr.models import Exact, LumaModel, ModelChoice


def planes(spec: FrameSpec, seed: int = 0) -> Planes:
    """Random samples, a third of them 0, a third the maximum."""
    random = np.random.default_rng(seed)
    result = []
    for shape in spec.format.shapes(spec.width, spec.height):
        plane = random.integers(0, spec.format.white, shape, endpoint=True)
        fate = random.random(shape)
        plane[fate < 1 / 3] = 0
        plane[fate > 2 / 3] = spec.format.white
        result.append(plane.astype(spec.format.dtype))
    return tuple(result)


def frame(spec: FrameSpec, index: int = 0) -> Frame:
    facts = TrackFacts(colour=Colour(chroma_location=spec.location))
    return Frame(
        format=spec.format,
        width=spec.width,
        height=spec.height,
        planes=planes(spec, index),
        pts=1001 * index,
        duration=1001,
        index=index,
        facts=facts,
    )


def spec(chroma: str = "420", depth: int = 8, size: tuple[int, int] = (40, 24), location: str = "left") -> FrameSpec:
    format = PlanarFormat(chroma=chroma, depth=depth)  # type: ignore[arg-type]
    return FrameSpec(format=format, width=size[0], height=size[1], location=location)  # type: ignore[arg-type]


def assert_close(
    actual: Planes | list[npt.NDArray[np.generic]],
    expected: Planes | list[npt.NDArray[np.generic]],
    *,
    codes: int = 0,
    share: float = 0.0,
) -> None:
    """Planes differ by at most `codes`, and in at most `share` of their samples; else says by how much, and where."""
    assert len(actual) == len(expected)
    for index, (got, wanted) in enumerate(zip(actual, expected, strict=True)):
        assert got.shape == wanted.shape, f"plane {index}: {got.shape}, not {wanted.shape}"
        assert got.dtype == wanted.dtype, f"plane {index}: {got.dtype}, not {wanted.dtype}"
        difference = np.abs(got.astype(np.int64) - wanted.astype(np.int64))
        wrong = np.count_nonzero(difference) / difference.size
        if difference.max() > codes or codes and wrong > share:
            values, counts = np.unique(difference, return_counts=True)
            histogram = ", ".join(f"{v}: {c}" for v, c in list(zip(values, counts, strict=True))[:12])
            raise AssertionError(
                f"plane {index} of {difference.shape}: maximum {difference.max()} (allowed {codes}), mean "
                f"{difference.mean():.6f}, share {wrong:.6f} (allowed {share}), "
                f"first at {np.argwhere(difference)[0].tolist()}; histogram {histogram}"
            )


def luma_model(
    scale: int = 2,
    *,
    channels: int = 8,
    body: int = 2,
    int8: bool = False,
    zero: bool = False,
    same: bool = False,
    seed: int = 0,
) -> LumaModel:
    """A network of random weights by the contract of the shipped models.

    `zero`: the pixel-repeat skip alone. `same`: zeros around every convolution instead of edges around the picture, as
    many users' models have it.
    """
    random, nodes, constants = np.random.default_rng(seed), [], []
    radius, widths = body + 2, [1, *[channels] * (body + 1), scale**2]

    def constant(name: str, value: npt.ArrayLike) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(operator: str, *inputs: str, name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def quantised(value: str, step: float, index: int) -> str:
        names = constant(f"step{index}", np.float32(step)), constant(f"zero{index}", np.int8(0))
        return add("DequantizeLinear", add("QuantizeLinear", value, *names, name=f"q{index}"), *names, name=f"d{index}")

    value = "luma"
    if not same:
        value = add("Pad", "luma", constant("pads", np.array([0, 0, radius, radius] * 2)), name="padded", mode="edge")
    if int8:
        value = quantised(add("Sub", value, constant("middle", np.float32(128)), name="centred"), 1, 0)
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        last = index == len(widths) - 2
        weights = (not zero) * random.normal(0, (2 / 9 / inputs) ** 0.5 * (0.2 if last else 1), (outputs, inputs, 3, 3))
        bias = (not zero) * random.normal(0, 4 if int8 else 0.02, outputs).astype(np.float32)
        kernel = f"weight{index}"
        if int8:
            steps = np.full(outputs, 0.9 * np.abs(weights).max() / 127 or 1, np.float32)
            codes = np.clip(np.round(weights / steps[0]), -127, 127).astype(np.int8)
            names = constant(f"codes{index}", codes), constant(f"steps{index}", steps)
            zeros = constant(f"zeros{index}", np.zeros(outputs, np.int8))
            add("DequantizeLinear", *names, zeros, name=kernel, axis=0)
        else:
            constant(kernel, weights.astype(np.float32))
        value = add("Conv", value, kernel, constant(f"bias{index}", bias), name=f"conv{index}", pads=[int(same)] * 4)
        if not last:
            value = quantised(value, 1.5, index + 1) if int8 else add("Relu", value, name=f"relu{index}")
    add("Add", value, "luma", name="sum")
    add("DepthToSpace", "sum", name="upscaled", blocksize=scale, mode="CRD")
    return LumaModel(proto=_model(nodes, constants), scale=scale, radius=radius, peak=255.0 if int8 else 1.0)


def _model(nodes: list[object], constants: list[TensorProto]) -> ModelProto:
    luma = helper.make_tensor_value_info("luma", TensorProto.FLOAT, [1, 1, "H", "W"])
    upscaled = helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, [1, 1, "sH", "sW"])
    graph = helper.make_graph(nodes, "network", [luma], [upscaled], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def chosen(folder: Path, model: LumaModel, precision: Exact) -> ModelChoice:
    """The model as a file, and the choice of it at `precision`."""
    data = model.proto.SerializeToString()
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.onnx"
    path.write_bytes(data)
    return ModelChoice(
        path=path,
        network="random",
        scale=model.scale,
        radius=model.radius,
        precision=precision,
        peak=model.peak,
        sha256=hashlib.sha256(data).hexdigest(),
        why="a test",
    )
