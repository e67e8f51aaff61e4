"""From a luma network to whole frames: integer planes in, integer planes out, as ONNX.

The network sees luma as float32; casting, scaling, rounding and clipping stand around it. Chroma goes through one fixed
cubic kernel (Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, equation 4, a = -1/2: the one
value that reproduces quadratics; the sharper -3/4 of OpenCV and ONNX overshoots more, which in chroma is a halo of the
wrong hue). Its taps are rounded to multiples of a power of two so small that every partial sum is an integer multiple a
float32 holds exactly: the result doesn't depend on the order of summation, so all backends agree to the bit.

Edges of a description, chosen by what the backend can hold:
    "planes"    uint8 or uint16 planes (1, 1, rows, columns)
    "tensorrt"  uint8 planes next to a Cast; above 8 bits, two samples in one int32, low half first, (ceil(n / 2),);
                in a description of any size (1, 1, rows, columns / 2), where rows are whole pairs (`whole_pairs`)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from vsr.frame import CHROMA_SITES, SUBSAMPLING, Chroma, ChromaLocation, Frame, PlanarFormat

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

    from vsr.models import LumaModel

Edges = Literal["planes", "tensorrt"]
Part = Literal["whole", "luma", "chroma"]
INPUTS, OUTPUTS = ("y", "u", "v"), ("y_up", "u_up", "v_up")
PAIRED_INPUTS = ("y", "uv")

CHROMA_RADIUS = 2  # the cubic kernel's, in chroma samples; 5x5 covers four taps at every phase of every scale
_KEYS_A = Fraction(-1, 2)


@dataclass(frozen=True, kw_only=True)
class FrameSpec:
    """What an engine is opened for: sample layout, luma size, chroma location.

    Args:
        surfaces: frames may come on a GPU (`Frame.surface`), so that the input has chroma in pairs. It doesn't tell
            frames apart, as every engine takes those in memory too.
    """

    format: PlanarFormat
    width: int
    height: int
    location: ChromaLocation = "unspecified"
    surfaces: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        location, surfaces = frame.facts.colour.chroma_location, frame.surface is not None
        return cls(format=frame.format, width=frame.width, height=frame.height, location=location, surfaces=surfaces)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of a description's inputs."""
        return PAIRED_INPUTS if self.surfaces else INPUTS

    def __str__(self) -> str:
        return f"{self.format.pix_fmt} {self.width}x{self.height}"


def chroma_kernel(chroma: Chroma, location: ChromaLocation, scale: int, depth: int) -> npt.NDArray[np.float32]:
    """The cubic kernel as (scale^2, 1, 5, 5) correlation weights, phases in depth-to-space order (row, then column).

    Every weight is a multiple of 2^-(23 - depth) and each phase sums to exactly 1.
    """
    across, down = SUBSAMPLING[chroma]
    right, below = CHROMA_SITES[location]
    columns = _phases(scale, across, Fraction(right, 2) if across == 2 else Fraction(0))
    rows = _phases(scale, down, Fraction(below, 2) if down == 2 else Fraction(0))
    unit = 1 << (23 - depth)
    kernel = np.array([[[[y * x * unit for x in xs] for y in ys]] for ys in rows for xs in columns], object)
    taps = np.array([round(tap) for tap in kernel.flat], np.int64).reshape(scale * scale, 25)
    taps[np.arange(scale * scale), taps.argmax(1)] += unit - taps.sum(1)
    return (taps / unit).astype(np.float32).reshape(scale * scale, 1, 5, 5)


def _phases(scale: int, subsampling: int, site: Fraction) -> list[list[Fraction]]:
    """Taps -2..2 of each output phase, along one axis.

    Chroma sample i sits at luma position subsampling * i + site; output pixel x is centred on (x + 1/2) / scale - 1/2.
    """
    shift = (site + Fraction(1, 2)) * (Fraction(1, scale) - 1) / subsampling
    return [[_keys(abs(tap - Fraction(phase, scale) - shift)) for tap in range(-2, 3)] for phase in range(scale)]


def _keys(distance: Fraction) -> Fraction:
    a, x = _KEYS_A, distance
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else Fraction(0)


def whole_pairs(spec: FrameSpec) -> bool:
    """Whether a description of any size takes such frames: above 8 bits no row of a plane ends in half a pair."""
    return spec.format.depth == 8 or not any(columns % 2 for _, columns in spec.format.shapes(spec.width, spec.height))


def describe(
    model: LumaModel, spec: FrameSpec, *, part: Part = "whole", edges: Edges = "planes", any_size: bool = False
) -> ModelProto:
    """The ONNX model that upscales planes of `spec` by `model.scale`, all shapes fixed.

    Inputs are `y`, `u`, `v` (or `y` alone), outputs `y_up`, `u_up`, `v_up`, of the same integer type; chroma of an odd
    size is rounded up, as in FFmpeg. Samples are rounded half to even and clipped to 0..2^depth - 1.

    For `spec.surfaces` the inputs are `y` and `uv` of NV12 or P010, and the result is the same to the bit: P010's shift
    is undone in the scaling of luma and the kernel of chroma, divided by that power of two, or while pairs are parted.

    Args:
        any_size: rows and columns are left open, and the size of `spec` doesn't count; for "whole" alone.

    Raises:
        ValueError: 16-bit samples for "tensorrt".
    """
    from onnx import checker, helper

    builder = _Builder(model, spec, edges, any_size=any_size)
    if part != "chroma":
        builder.luma()
    if part != "luma" and spec.format.chroma != "grey":
        builder.chroma()
    graph = helper.make_graph(builder.nodes, f"vsr {part}", builder.inputs, builder.outputs, builder.constants)
    described = helper.make_model(graph, opset_imports=model.proto.opset_import, ir_version=10, producer_name="vsr")
    checker.check_model(described)
    return described


class _Builder:
    """Collects nodes; the network's names all get the prefix `luma/`, so that none meets one of the description's."""

    def __init__(self, model: LumaModel, spec: FrameSpec, edges: Edges, *, any_size: bool) -> None:
        from onnx import TensorProto

        self.model, self.spec, self.edges, self.any_size = model, spec, edges, any_size
        self.format, self.scale = spec.format, model.scale
        self.packed = edges == "tensorrt" and spec.format.depth > 8
        if self.packed and spec.format.depth == 16:
            raise ValueError("two 16-bit samples don't fit a signed int32; 15 bits do")
        integer = TensorProto.UINT8 if spec.format.depth == 8 else TensorProto.UINT16
        self.type = TensorProto.INT32 if self.packed else integer
        self.shapes = spec.format.shapes(spec.width, spec.height)
        self.entries = spec.format.shapes(spec.width, spec.height, paired=spec.surfaces)
        self.shift = spec.format.shift if spec.surfaces else 0  # bits that samples are moved up by
        self.unit = 1 if self.packed else 1 << self.shift  # what a code of 1 is as float32
        self.upscaled = spec.format.shapes(spec.width * self.scale, spec.height * self.scale)
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []
        self._luma = ""  # what the network is given

    def luma(self) -> None:
        from onnx import compose

        network = compose.add_prefix_graph(self.model.proto.graph, "luma/")
        self.constants += network.initializer
        constants = {tensor.name for tensor in network.initializer}
        luma = next(given.name for given in network.input if given.name not in constants)
        self._enter(0, scaled=self.model.peak / self.format.white / self.unit, name=luma)
        value = network.output[0].name
        last = next(node for node in network.node if value in node.output)
        blocks = [attribute.i for attribute in last.attribute if attribute.name == "blocksize"]
        shuffled = last.op_type == "DepthToSpace" and blocks == [self.scale]
        self.nodes += [node for node in network.node if not shuffled or value not in node.output]
        self._leave(0, last.input[0] if shuffled else value, self.format.white / self.model.peak, shuffled=shuffled)

    def chroma(self) -> None:
        kernel = chroma_kernel(self.format.chroma, self.spec.location, self.scale, self.format.depth)
        weights = self._constant("chroma_kernel", kernel / np.float32(self.unit))
        pads = self._constant("chroma_pads", np.array([0, 0, CHROMA_RADIUS, CHROMA_RADIUS] * 2, np.int64))
        pairs = self._pairs() if self.spec.surfaces else ""
        for plane in (1, 2):
            padded = self._add("Pad", self._half(pairs, plane) if pairs else self._enter(plane), pads, mode="edge")
            self._leave(plane, self._add("Conv", padded, weights))

    def _pairs(self) -> str:
        """U and V as two channels, float32."""
        apart = self._add("Transpose", self._reshape(self._enter(1), [0, 0, 0, -1, 2]), perm=[0, 4, 2, 3, 1])
        return self._reshape(apart, [0, 0, 0, -1])

    def _half(self, pairs: str, plane: int) -> str:
        return self._add("Slice", pairs, *map(self._whole, ([plane - 1], [plane], [1])))

    def _enter(self, plane: int, *, scaled: float = 1.0, name: str = "") -> str:
        """The plane as float32, times `scaled`."""
        from onnx import TensorProto, helper

        value, (rows, columns) = self.spec.inputs[plane], self.entries[plane]
        luma = plane == 0 or self.format.chroma == "444"
        opened = ("rows", "columns") if luma else ("chroma_rows", f"{'two_' * self.spec.surfaces}chroma_columns")
        self.inputs.append(helper.make_tensor_value_info(value, self.type, self._edge(rows, columns, opened)))
        if self.packed:
            value = self._unpacked(value, rows, columns)
        value = self._add("Cast", value, to=TensorProto.FLOAT)
        if scaled != 1:
            value = self._add("Mul", value, self._constant("to_peak", np.float32(scaled)))
        value = self._named(value, name)
        self._luma = self._luma or value
        return value

    def _leave(self, plane: int, value: str, scaled: float = 1.0, *, shuffled: bool = True) -> None:
        """Rounds, clips, shuffles, casts: before the shuffle where integers may be shuffled, else last."""
        from onnx import helper

        (rows, columns), given = self.upscaled[plane], self.shapes[plane]
        if scaled != 1:
            value = self._add("Mul", value, self._constant("to_white", np.float32(scaled)))
        limits = self._constant("black", np.float32(0)), self._constant("white", np.float32(self.format.white))
        value = self._add("Clip", self._add("Round", value), *limits)
        if self.edges == "planes":
            value = self._add("Cast", value, to=self.type)
        if shuffled:
            value = self._add("DepthToSpace", value, blocksize=self.scale, mode="CRD")
        if self.any_size and plane and self.format.chroma != "444":
            value = self._cut(value)
        elif (rows, columns) != (given[0] * self.scale, given[1] * self.scale) and not self.any_size:
            value = self._slice(value, [0] * 4, [1, 1, rows, columns])
        if self.edges == "tensorrt":
            value = self._packed(value, rows * columns) if self.packed else self._add("Cast", value, to=self.type)
        shape = self._edge(rows, columns, (None, None))
        self.outputs.append(helper.make_tensor_value_info(self._named(value, OUTPUTS[plane]), self.type, shape))

    def _edge(self, rows: int, columns: int, opened: tuple[str | None, str | None]) -> list[int | str | None]:
        """A plane's shape outside; names in one description stand for the same number everywhere."""
        if self.any_size:
            return [1, 1, opened[0], f"pairs_of_{opened[1]}" if self.packed and opened[1] else opened[1]]
        return [(rows * columns + 1) // 2] if self.packed else [1, 1, rows, columns]

    def _cut(self, chroma: str) -> str:
        """Upscaled chroma without what it has too much where luma's size is odd."""
        across, down = SUBSAMPLING[self.format.chroma]
        luma = self._add("Mul", self._add("Shape", self._luma), self._whole([1, 1, self.scale, self.scale]))
        rounded = self._add("Add", luma, self._whole([0, 0, down - 1, across - 1]))
        ends = self._add("Div", rounded, self._whole([1, 1, down, across]))
        return self._add("Slice", chroma, self._whole([0] * 4), ends)

    def _unpacked(self, pairs: str, rows: int, columns: int) -> str:
        """(1, 1, rows, columns) int32 of pairs of samples below 2^15; an odd sample's partner may be anything."""
        pairs = self._lowered(pairs) if self.shift else pairs
        base = self._constant("base", np.int32(65536))
        high = self._add("Div", pairs, base)
        low = self._add("Sub", pairs, self._add("Mul", high, base))
        if rows * columns % 2 and not self.any_size:  # of a negative pair, Div rounds to 0
            low = self._add("Sub", low, self._add("Mul", self._negative(low), base))
        both = self._add("Concat", *[self._add("Unsqueeze", half, self._whole([-1])) for half in (low, high)], axis=-1)
        if self.any_size:
            return self._reshape(both, [1, 1, 0, -1])  # 0 keeps the rows
        return self._reshape(self._slice(self._reshape(both, [-1]), [0], [rows * columns]), [1, 1, rows, columns])

    def _lowered(self, pairs: str) -> str:
        """Pairs of samples moved down by the shift; before, a pair is negative where the upper sample is large."""
        moved = self._add("Div", pairs, self._constant("unit", np.int32(1 << self.shift)))
        round_trip = self._constant("round_trip", np.int32(1 << (32 - self.shift)))
        return self._add("Sub", moved, self._add("Mul", self._negative(moved), round_trip))

    def _negative(self, value: str) -> str:
        """-1 where an integer is below 0, else 0."""
        at_least = self._add("Max", value, self._constant("below", np.int32(-1)))
        return self._add("Min", at_least, self._constant("zero", np.int32(0)))

    def _packed(self, value: str, samples: int) -> str:
        """(ceil(samples / 2),) int32 of pairs of samples, the last one's partner 0."""
        from onnx import TensorProto

        shape = [1, 1, 0, -1] if self.any_size else [-1]
        flat = self._reshape(self._add("Cast", value, to=TensorProto.INT32), shape)
        if samples % 2 and not self.any_size:
            flat = self._add("Concat", flat, self._constant("nothing", np.zeros(1, np.int32)), axis=0)
        pairs, last = self._reshape(flat, [*shape, 2]), self._whole([-1])
        halves = [self._add("Slice", pairs, self._whole([h]), self._whole([h + 1]), last) for h in (0, 1)]
        low, high = (self._reshape(half, shape) for half in halves)
        return self._add("Add", self._add("Mul", high, self._constant("base", np.int32(65536))), low)

    def _slice(self, value: str, starts: list[int], ends: list[int]) -> str:
        return self._add("Slice", value, *map(self._whole, (starts, ends, list(range(len(ends))))))

    def _reshape(self, value: str, shape: list[int]) -> str:
        return self._add("Reshape", value, self._whole(shape))

    def _whole(self, numbers: list[int]) -> str:
        return self._constant(f"{numbers}", np.array(numbers, np.int64))

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        from onnx import numpy_helper

        if name not in {constant.name for constant in self.constants}:
            self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{operator}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def _named(self, value: str, name: str) -> str:
        """Renames the result of the node added last."""
        if name:
            self.nodes[-1].output[0] = name
        return name or value
