"""ONNX operators in torch, as the specification defines them (opset 13 to 21), for what luma networks use.

An operator takes its node's attributes and its inputs; an input left out is None. Anything an operator can't do is an
InputError that names it. On a CUDA device nothing here waits for the device or copies to it, so that all of it can be
captured in a graph, as long as what says how to compute (`SETTINGS`) is on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vsr.backends.pytorch.resize import Attributes, resize

TYPES: Mapping[int, torch.dtype] = MappingProxyType(  # TensorProto's element types
    {
        1: torch.float32,
        2: torch.uint8,
        3: torch.int8,
        4: torch.uint16,
        6: torch.int32,
        7: torch.int64,
        9: torch.bool,
        10: torch.float16,
        11: torch.float64,
        16: torch.bfloat16,
    }
)

_SUMMED = 16  # outputs up to which one channel is convolved by plain sums: cuDNN may take a transform, which rounds


def _integers(tensor: Tensor) -> list[int]:
    return [int(value) for value in tensor.flatten().tolist()]


def conv(at: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    strides, dilations = at.get("strides", [1, 1]), at.get("dilations", [1, 1])
    top, left, bottom, right = conv_pads(at, x, weight, strides, dilations)
    group = at.get("group", 1)
    if (top, left) != (bottom, right):
        x, top, left = functional.pad(x, (left, right, top, bottom)), 0, 0
    if x.is_cuda and x.dtype == torch.float32 and x.shape[1] == group == 1 and weight.shape[0] <= _SUMMED:
        size = list(weight.shape[2:])
        summed: Tensor = torch.ops.aten._conv_depthwise2d(x, weight, size, bias, strides, [top, left], dilations)
        return summed
    return functional.conv2d(x, weight, bias, strides, (top, left), dilations, group)


def conv_pads(at: Attributes, x: Tensor, weight: Tensor, strides: list[int], dilations: list[int]) -> list[int]:
    auto = at.get("auto_pad", b"NOTSET").decode()
    if not auto.startswith("SAME"):
        return list(at.get("pads", [0, 0, 0, 0]))
    begin, end = [], []
    for size, taps, stride, dilation in zip(x.shape[2:], weight.shape[2:], strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (taps - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        begin.append(large if auto == "SAME_LOWER" else small)
        end.append(small if auto == "SAME_LOWER" else large)
    return begin + end


def _conv_transpose(at: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = at.get("pads", [0, 0, 0, 0])
    group, dilations = at.get("group", 1), at.get("dilations", [1, 1])
    y = functional.conv_transpose2d(x, weight, bias, at.get("strides", [1, 1]), 0, 0, group, dilations)
    extra_down, extra_right = at.get("output_padding", [0, 0])
    y = functional.pad(y, (0, extra_right, 0, extra_down))
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def _pad(at: Attributes, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    amounts, mode = _integers(pads), at.get("mode", b"constant")
    half = len(amounts) // 2
    along = [axis % x.dim() for axis in _integers(axes)] if axes is not None else list(range(half))
    around = {axis: amounts[index::half] for index, axis in enumerate(along)}
    if mode == b"constant":
        flat = [amount for axis in reversed(range(x.dim())) for amount in around.get(axis, [0, 0])]
        return functional.pad(x, flat, value=0 if value is None else value.item())
    in_plane = not any(any(around.get(axis, [])) for axis in range(x.dim() - 2)) and min(amounts) >= 0
    if mode == b"edge" and x.dim() == 4 and in_plane and x.is_floating_point():
        return functional.pad(x, [*around.get(3, [0, 0]), *around.get(2, [0, 0])], "replicate")
    for axis, (before, after) in around.items():
        size = x.shape[axis]
        index = torch.arange(-before, size + after, device=x.device)
        index = size - 1 - (size - 1 - index.abs()).abs() if mode == b"reflect" else index.clamp(0, size - 1)
        x = x.index_select(axis, index)
    return x


def _depth_to_space(at: Attributes, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    s = at["blocksize"]
    if at.get("mode", b"DCR") == b"CRD":
        return x.reshape(n, c // s**2, s, s, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // s**2, h * s, w * s)
    return x.reshape(n, s, s, c // s**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // s**2, h * s, w * s)


def _space_to_depth(at: Attributes, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    s = at["blocksize"]
    return x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4).reshape(n, c * s**2, h // s, w // s)


def _along(parameter: Tensor, like: Tensor, axis: int) -> Tensor:
    """A scalar as it is; one value per index of `axis` shaped to broadcast."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter.reshape([-1 if i == axis % like.dim() else 1 for i in range(like.dim())])


def _quantize(at: Attributes, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    kind = torch.uint8 if zero is None else zero.dtype
    limits = torch.iinfo(kind)
    axis = at.get("axis", 1)
    offset = 0 if zero is None else _along(zero, x, axis).to(torch.float32)
    codes = torch.round(x / _along(scale, x, axis)) + offset
    return codes.clamp(limits.min, limits.max).to(kind)


def _dequantize(at: Attributes, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis = at.get("axis", 1)
    codes = x.to(torch.float32)
    return (codes if zero is None else codes - _along(zero, x, axis).to(torch.float32)) * _along(scale, x, axis)


def _slice(
    at: Attributes,
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    begin, end = _integers(starts), _integers(ends)
    along = list(range(len(begin))) if axes is None else _integers(axes)
    stride = [1] * len(begin) if steps is None else _integers(steps)
    for axis, bounds in zip(along, zip(begin, end, stride, strict=True), strict=True):
        index = range(*slice(*bounds).indices(x.shape[axis]))
        ordered = index if index.step > 0 else index[::-1]
        kept = slice(ordered.start, max(ordered.stop, ordered.start), ordered.step)
        x = x[(slice(None),) * (axis % x.dim()) + (kept,)]
        x = x if ordered is index else x.flip(axis)
    return x


def _reshape(at: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    keeps = not at.get("allowzero", 0)
    return x.reshape([x.shape[i] if n == 0 and keeps else n for i, n in enumerate(_integers(shape))])


def _unsqueeze(at: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    rank = x.dim() + axes.numel()
    for axis in sorted(a % rank for a in _integers(axes)):
        x = x.unsqueeze(axis)
    return x


def _squeeze(at: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    gone = [a % x.dim() for a in _integers(axes)] if axes is not None else [i for i, n in enumerate(x.shape) if n == 1]
    return x.reshape([n for i, n in enumerate(x.shape) if i not in gone])


def _split(at: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = at.get("axis", 0)
    parts = _integers(sizes) if sizes is not None else -(-x.shape[axis] // at["num_outputs"])
    return tuple(torch.split(x, parts, axis))


def _gather(at: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = at.get("axis", 0) % x.dim()
    flat = index.flatten().to(torch.int64) % x.shape[axis]
    return x.index_select(axis, flat).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _divide(at: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _clip(at: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    limits = [None if limit is None else limit.item() for limit in (low, high)]
    return x if limits == [None, None] else x.clamp(*limits)


def _prelu(at: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _constant(at: Attributes) -> Tensor:
    from onnx import numpy_helper

    if "value" in at:
        return torch.from_numpy(numpy_helper.to_array(at["value"]).copy())
    value = next(iter(at.values()))
    return torch.tensor(value, dtype=torch.int64 if np.all(np.equal(np.mod(value, 1), 0)) else torch.float32)


def _gelu(at: Attributes, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=at.get("approximate", b"none").decode())


def _reduce_mean(at: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    along = _integers(axes) if axes is not None else list(at.get("axes", range(x.dim())))
    return x.mean(along, keepdim=bool(at.get("keepdims", 1)))


def _normalised(at: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, bias, eps=at.get("epsilon", 1e-5))


Operator = Callable[..., Tensor | tuple[Tensor, ...]]
OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "Abs": lambda at, x: x.abs(),
        "Add": lambda at, x, y: x + y,
        "BatchNormalization": _normalised,
        "Cast": lambda at, x: x.to(TYPES[at["to"]]),
        "Clip": _clip,
        "Concat": lambda at, *xs: torch.cat(xs, at["axis"]),
        "Constant": _constant,
        "Conv": conv,
        "ConvTranspose": _conv_transpose,
        "DepthToSpace": _depth_to_space,
        "DequantizeLinear": _dequantize,
        "Div": _divide,
        "Erf": lambda at, x: torch.erf(x),
        "Exp": lambda at, x: x.exp(),
        "Expand": lambda at, x, shape: x * torch.ones(_integers(shape), dtype=x.dtype, device=x.device),
        "Floor": lambda at, x: x.floor(),
        "Gather": _gather,
        "Gelu": _gelu,
        "GlobalAveragePool": lambda at, x: x.mean((2, 3), keepdim=True),
        "HardSigmoid": lambda at, x: (x * at.get("alpha", 0.2) + at.get("beta", 0.5)).clamp(0, 1),
        "HardSwish": lambda at, x: functional.hardswish(x),
        "Identity": lambda at, x: x,
        "LeakyRelu": lambda at, x: functional.leaky_relu(x, at.get("alpha", 0.01)),
        "MatMul": lambda at, x, y: x @ y,
        "Max": lambda at, *xs: reduce(torch.maximum, xs),
        "Min": lambda at, *xs: reduce(torch.minimum, xs),
        "Mod": lambda at, x, y: x.fmod(y) if at.get("fmod", 0) else x.remainder(y),
        "Mul": lambda at, x, y: x * y,
        "Neg": lambda at, x: -x,
        "PRelu": _prelu,
        "Pad": _pad,
        "Pow": lambda at, x, y: x**y,
        "QuantizeLinear": _quantize,
        "ReduceMean": _reduce_mean,
        "Relu": lambda at, x: x.relu(),
        "Reshape": _reshape,
        "Resize": resize,
        "Round": lambda at, x: x.round(),
        "Shape": lambda at, x: torch.tensor(x.shape),
        "Sigmoid": lambda at, x: x.sigmoid(),
        "Slice": _slice,
        "Softmax": lambda at, x: x.softmax(at.get("axis", -1)),
        "SpaceToDepth": _space_to_depth,
        "Split": _split,
        "Sqrt": lambda at, x: x.sqrt(),
        "Squeeze": _squeeze,
        "Sub": lambda at, x, y: x - y,
        "Tanh": lambda at, x: x.tanh(),
        "Transpose": lambda at, x: x.permute(at["perm"]),
        "Unsqueeze": _unsqueeze,
    }
)

# Operators of which every input after the first says how to compute: shapes, axes, limits.
SETTINGS = frozenset(
    ("Clip", "Expand", "Pad", "ReduceMean", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Unsqueeze")
)
