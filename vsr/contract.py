"""What a user's own luma model must be, checked before it is trusted with a frame."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vsr.errors import InputError
from vsr.settings import SCALES

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_BYTES = 64 << 20
MAX_NODES = 10_000
MAX_GROWTH = 16384  # samples of any tensor inside per sample of the input
_PROBES = ((37, 44), (48, 40))  # rows, columns; a model that only takes even sizes fails by name


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """What was found out about a user's file."""

    scale: int
    radius: int | None
    peak: float
    int8: bool
    sha256: str


def inspect(path: Path) -> OwnModel:
    """Reads and tries the model. Raises InputError naming the first thing that breaks the contract.

    Contract: ONNX of at most 64 MiB and 10,000 nodes without external data, custom operators or control flow, no tensor
    inside larger than 16,384 values per input sample; one float32 input (1, 1, H, W) with H
    and W free, one float32 output (1, 1, scale H, scale W), scale 2, 3 or 4; finite for input in 0..1.
    `metadata_props` may name `vsr.peak` (value of white, 1 unless given), `vsr.radius` and `vsr.precision`.
    """
    import onnx

    data = _read(path)
    try:
        proto = onnx.load_model_from_string(data)
        _check_closed(path, proto)
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: not a valid ONNX model ({_line(error)})") from error
    except Exception as error:  # protobuf's DecodeError has no public base that every version shares
        if type(error).__name__ != "DecodeError":
            raise
        raise InputError(f"{path}: not an ONNX model") from error
    _check_form(path, proto)
    _check_growth(path, proto)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    try:
        peak = float(properties.get("vsr.peak", 1))
        radius = int(properties["vsr.radius"]) if "vsr.radius" in properties else receptive_radius(proto)
    except ValueError as error:
        raise InputError(f"{path}: metadata vsr.peak and vsr.radius must be numbers ({error})") from error
    if not 0 < peak <= 65535 or radius is not None and radius < 0:
        raise InputError(f"{path}: metadata vsr.peak {peak} must be above 0, vsr.radius {radius} not below")
    return OwnModel(
        scale=_tried_scale(path, data, peak),
        radius=radius,
        peak=peak,
        int8=properties.get("vsr.precision") == "int8",
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: a model may have 64 MiB at most")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give an ONNX file") from error


def _check_closed(path: Path, proto: ModelProto) -> None:
    """Nothing but plain operators and data of its own: no other file is read, no foreign code run, nothing loops."""
    from onnx import TensorProto

    graph = proto.graph
    if len(graph.node) > MAX_NODES:
        raise InputError(f"{path}: {len(graph.node)} nodes, {MAX_NODES} at most")
    foreign = sorted({n.domain for n in graph.node} - {"", "ai.onnx"})
    if foreign or proto.functions:
        raise InputError(f"{path}: only plain ONNX operators are taken, not {', '.join(foreign) or 'functions'}")
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if any(attribute.HasField("g") or attribute.graphs for attribute in attributes):
        raise InputError(f"{path}: control flow (If, Loop, Scan) isn't taken")
    sparse = [*graph.sparse_initializer, *(a.sparse_tensor for a in attributes if a.HasField("sparse_tensor"))]
    tensors = [*graph.initializer, *(a.t for a in attributes), *(t for a in attributes for t in a.tensors)]
    tensors += [part for tensor in sparse for part in (tensor.values, tensor.indices)]
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        raise InputError(f"{path}: weights must be inside the file, not in external data")


def _check_growth(path: Path, proto: ModelProto) -> None:
    """No tensor inside may be much larger than the input, as far as shapes can be told without running the model."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    names = {tensor.name for tensor in copy.graph.initializer}
    given = next(value for value in copy.graph.input if value.name not in names)
    rows, columns = _PROBES[0]
    for dim, size in zip(given.type.tensor_type.shape.dim, (1, 1, rows, columns), strict=True):
        dim.dim_value = size
    del copy.graph.value_info[:]
    for value in onnx.shape_inference.infer_shapes(copy, data_prop=True).graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if prod(shape) > MAX_GROWTH * rows * columns:
            grown = "x".join(map(str, shape))
            raise InputError(f"{path}: {value.name} is {grown} for {columns}x{rows} luma, too large")


def _check_form(path: Path, proto: ModelProto) -> None:
    from onnx import TensorProto

    graph = proto.graph
    initialisers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialisers]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise InputError(f"{path}: needs one input and one output, has {len(inputs)} and {len(graph.output)}")
    for value in (inputs[0], graph.output[0]):
        tensor = value.type.tensor_type
        if tensor.elem_type != TensorProto.FLOAT:
            raise InputError(f"{path}: {value.name} must be float32")
    dims = inputs[0].type.tensor_type.shape.dim
    if len(dims) != 4 or dims[1].dim_value not in (0, 1) or dims[2].dim_value or dims[3].dim_value:
        raise InputError(f"{path}: input must be luma of free size, (1, 1, H, W)")


def _tried_scale(path: Path, data: bytes, peak: float) -> int:
    """The scale, found by running the model on noise of two sizes."""
    from vsr.backends import openvino_core

    core = openvino_core()
    scales: set[int] = set()
    for rows, columns in _PROBES:
        noise = np.random.default_rng(0).random((1, 1, rows, columns), np.float32) * np.float32(peak)
        try:
            model = core.read_model(model=data)
            model.reshape([1, 1, rows, columns])
            result: npt.NDArray[np.float32] = core.compile_model(model, "CPU", _EXACT)(noise)[0]
        except RuntimeError as error:
            raise InputError(f"{path}: doesn't run on {columns}x{rows} luma ({_line(error)})") from error
        if not np.isfinite(result).all():
            raise InputError(f"{path}: gives values that are not finite for input in 0..{peak:g}")
        scale = int(result.shape[-1]) // columns
        if result.shape != (1, 1, rows * scale, columns * scale) or scale not in SCALES:
            raise InputError(
                f"{path}: makes {result.shape} of (1, 1, {rows}, {columns}); scale must be "
                f"{', '.join(map(str, SCALES))} and the result one channel"
            )
        scales.add(scale)
    if len(scales) > 1:
        raise InputError(f"{path}: has no fixed scale ({', '.join(map(str, sorted(scales)))})")
    return scales.pop()


_EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def receptive_radius(model: ModelProto) -> int | None:
    """Input pixels around an output pixel's place that it may depend on, never too few; None when that can be any.

    Strides, sub-pixels and one-sided padding are followed, resizing is bounded from above.
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    reaches = {value.name: _Reach() for value in model.graph.input if value.name not in constants}
    for node in model.graph.node:
        joined = [reaches[name] for name in node.input if name in reaches]
        given = next((constants[name] for name in node.input[1:] if name in constants and constants[name].size), None)
        if not joined:  # dequantised weights, and the like
            held = [numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"]
            constants[node.output[0]] = held[0] if held else constants.get(next(iter(node.input), ""), np.zeros(0))
            continue
        low, high = min(reach.low for reach in joined), max(reach.high for reach in joined)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        reach = _after(node.op_type, attributes, given, _Reach(joined[0].step, low, high))
        if reach is None or len({reach.step for reach in joined}) > 1:
            return None
        reaches.update(dict.fromkeys(node.output, reach))
    end = reaches[model.graph.output[0].name]
    return ceil(max(-end.low, end.high + 1))


@dataclass(frozen=True)
class _Reach:
    """Sample i of a tensor depends on input pixels `step * i + low` to `step * i + high`, along either axis."""

    step: float = 1
    low: float = 0
    high: float = 0

    def widened(self, low: float, high: float, step: float | None = None) -> _Reach:
        return _Reach(self.step if step is None else step, self.low + low, self.high + high)


_POINTWISE = (
    *("Abs", "Add", "BatchNormalization", "Cast", "Clip", "Concat", "DequantizeLinear", "Div", "Elu", "Erf", "Exp"),
    *("Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Max", "Min", "Mul", "Neg", "PRelu", "Pow"),
    *("QuantizeLinear", "Relu", "Round", "Sigmoid", "Split", "Sqrt", "Sub", "Tanh"),
)


def _after(operator: str, at: Mapping[str, Any], given: npt.NDArray[Any] | None, before: _Reach) -> _Reach | None:
    """The reach behind an operator with constant `given`; None when it isn't known to be bounded."""
    step, block, stride = before.step, at.get("blocksize", 1), max(at.get("strides", [1]))
    if operator in _POINTWISE:
        return before
    if operator == "DepthToSpace":
        return before.widened(-step * (block - 1) / block, 0, step / block)
    if operator == "SpaceToDepth":
        return before.widened(0, step * (block - 1), step * block)
    if given is None:
        return None
    if operator == "Pad" and given.size == 8:
        return before.widened(-step * int(given[2:4].max()), -step * int(given[2:4].min()))
    if operator == "Resize" and given.size == 4:
        return before.widened(-2 * step, 3 * step, step / float(given[3]))
    if operator not in ("Conv", "ConvTranspose") or given.ndim != 4:
        return None
    span = max((n - 1) * d for n, d in zip(given.shape[2:], at.get("dilations", [1, 1]), strict=True))
    pads = [span, 0] if at.get("auto_pad", b"NOTSET") != b"NOTSET" else at.get("pads", [0])
    if operator == "Conv":
        return before.widened(-step * max(pads), step * (span - min(pads)), step * stride)
    return before.widened(-step * (span / stride + 1), step * (max(pads) / stride + 1), step / stride)
