"""The whole-frame description against NumPy, written apart from it: exact integers for chroma, float64 for luma."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import floor

import numpy as np
import numpy.typing as npt
import pytest
import torch
from onnx import GraphProto, ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from strong import assert_close, luma_model, planes, spec
from vsr.backends.half import halved
from vsr.backends.lanes import fill_lanes
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.backends.subpixel import SUFFIX, shuffle, subpixels
from vsr.backends.unsigned import unsigned
from vsr.frame import SUBSAMPLING, Plane, Planes
from vsr.graph import Edges, FrameSpec, chroma_kernel, describe
from vsr.models import LumaModel

Doubles = npt.NDArray[np.float64]
SITES = {  # of the first chroma sample, in luma pixels: across, down
    "unspecified": (0, 0.5),
    "left": (0, 0.5),
    "center": (0.5, 0.5),
    "topleft": (0, 0),
    "top": (0.5, 0),
    "bottomleft": (0, 1),
    "bottom": (0.5, 1),
}
CHROMAS = [("420", location) for location in SITES] + [("422", "left"), ("422", "center"), ("444", "left")]


def position(spec: FrameSpec, scale: int, axis: int, index: int) -> Fraction:
    """Where an output chroma sample lies, in input chroma samples: through luma coordinates, there and back."""
    subsampling = SUBSAMPLING[spec.format.chroma][axis]
    site = Fraction(SITES[spec.location][axis]) if subsampling == 2 else Fraction(0)
    luma = (index * subsampling + site + Fraction(1, 2)) / scale - Fraction(1, 2)
    return (luma - site) / subsampling


def cubic(at: Fraction) -> tuple[int, list[Fraction]]:
    """(nearest sample, weights of the five around it) by Keys' kernel with a = -1/2."""
    nearest, weights = floor(at + Fraction(1, 2)), []
    for offset in range(-2, 3):
        x = abs(at - nearest - offset)
        inner, outer = (3 * x**3 - 5 * x**2 + 2) / 2, (-(x**3) + 5 * x**2 - 8 * x + 4) / 2
        weights.append(inner if x < 1 else outer if x < 2 else Fraction(0))
    return nearest, weights


def upscaled_chroma(plane: Plane, spec: FrameSpec, scale: int) -> Plane:
    """Integers throughout: taps in units of 2^-(23 - depth), the rest at the largest; sums rounded half to even."""
    rows, columns = spec.format.shapes(spec.width * scale, spec.height * scale)[1]
    unit = 1 << (23 - spec.format.depth)
    padded = np.pad(plane.astype(np.int64), 3, mode="edge")
    total = np.zeros((rows, columns), np.int64)
    for dy, dx in np.ndindex(scale, scale):
        (top, down), (left, across) = (cubic(position(spec, scale, axis, start)) for axis, start in ((1, dy), (0, dx)))
        taps = [round(y * x * unit) for y in down for x in across]
        taps[taps.index(max(taps))] += unit - sum(taps)
        phase = total[dy::scale, dx::scale]
        for tap, (i, j) in zip(taps, np.ndindex(5, 5), strict=True):
            y, x = 3 + top + i - 2, 3 + left + j - 2
            phase += tap * padded[y : y + phase.shape[0], x : x + phase.shape[1]]
    whole, rest = np.divmod(total, unit)
    whole += (2 * rest > unit) | (2 * rest == unit) & (whole % 2 == 1)
    return np.clip(whole, 0, spec.format.white).astype(spec.format.dtype)


def upscaled_luma(model: LumaModel, plane: Plane, white: int) -> Doubles:
    """The random float network in float64, before rounding."""
    weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.proto.graph.initializer}
    luma = plane.astype(np.float64) / white
    radius = int(weights["pads"][2])
    x = np.pad(luma, radius, mode="edge")[None]
    count = sum(name.startswith("weight") for name in weights)
    for index in range(count):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        x = np.einsum("ihwyx,oiyx->ohw", windows, weights[f"weight{index}"]) + weights[f"bias{index}"][:, None, None]
        x = x if index == count - 1 else np.maximum(x, 0)
    s = model.scale
    rows, columns = luma.shape
    return (x + luma).reshape(s, s, rows, columns).transpose(2, 0, 3, 1).reshape(rows * s, columns * s) * white


def by_torch(model: LumaModel, spec: FrameSpec, given: Planes) -> list[Plane]:
    evaluator = Evaluator(describe(model, spec))
    return [result[0, 0].numpy() for result in evaluator(*[torch.from_numpy(plane[None, None]) for plane in given])]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("chroma", "location"), CHROMAS)
def test_chroma_is_exact(scale: int, chroma: str, location: str) -> None:
    for depth, size in ((8, (24, 18)), (8, (23, 17)), (10, (21, 19)), (16, (22, 15))):
        what = spec(chroma, depth, size, location)
        given = planes(what, seed=depth)
        result = by_torch(luma_model(scale, zero=True, body=0), what, given)
        assert_close(result[1:], [upscaled_chroma(plane, what, scale) for plane in given[1:]])


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3)])
def test_tiny_frames(size: tuple[int, int]) -> None:
    what = spec("420", 8, size)
    given = planes(what)
    result = by_torch(luma_model(2, zero=True), what, given)
    assert_close(result[:1], [given[0].repeat(2, 0).repeat(2, 1)])
    assert_close(result[1:], [upscaled_chroma(plane, what, 2) for plane in given[1:]])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("chroma", "location"), CHROMAS)
def test_a_ramp_of_chroma_stays_where_it_was(scale: int, chroma: str, location: str) -> None:
    """Cubic interpolation keeps straight lines, so a wrong phase shows as a shift of the whole line."""
    what = spec(chroma, 16, (40, 40), location)
    rows, columns = what.format.shapes(40, 40)[1]
    ramp = (2000 + 500 * np.arange(columns)[None] + 700 * np.arange(rows)[:, None]).astype(np.uint16)
    luma = np.zeros((40, 40), np.uint16)
    result = by_torch(luma_model(scale, zero=True, body=0), what, (luma, ramp, ramp))[1]
    places = ([float(position(what, scale, axis, i)) for i in range(result.shape[1 - axis])] for axis in (1, 0))
    y, x = map(np.array, places)
    expected = 2000 + 500 * x[None] + 700 * y[:, None]
    inside = np.s_[3 * scale : -3 * scale, 3 * scale : -3 * scale]
    coarseness = 13 * 700 * 2.0**-8  # taps of 2^-7 at 16 bits
    assert np.abs(result.astype(np.float64) - expected)[inside].max() <= coarseness


def test_kernel_is_exact_in_float32() -> None:
    for depth in range(8, 17):
        for scale in (2, 3, 4):
            kernel = chroma_kernel("420", "left", scale, depth).astype(np.float64)
            assert (kernel.sum((1, 2, 3)) == 1).all()
            units = kernel * 2.0 ** (23 - depth)
            assert (units == np.rint(units)).all()
            assert np.abs(units).sum((1, 2, 3)).max() * ((1 << depth) - 1) <= 1 << 24


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("depth", "size"), [(8, (24, 18)), (10, (23, 17)), (16, (9, 30))])
def test_luma_is_the_network_rounded(scale: int, depth: int, size: tuple[int, int]) -> None:
    model, what = luma_model(scale), spec("grey", depth, size)
    given = planes(what, seed=scale)
    exact = upscaled_luma(model, given[0], what.format.white)
    expected = np.clip(np.rint(exact), 0, what.format.white).astype(what.format.dtype)
    share = 0.001 if depth < 16 else 0.05  # where float32 rounds the other way
    assert_close(by_torch(model, what, given), [expected], codes=1, share=share)
    assert len(np.unique(expected)) > 20, "the random network leaves nothing to compare"


@pytest.mark.parametrize("depth", [8, 9, 10, 12, 15])
@pytest.mark.parametrize(("chroma", "size"), [("420", (22, 14)), ("420", (21, 13)), ("422", (7, 5)), ("grey", (3, 3))])
def test_tensorrt_edges_hold_the_same_samples(depth: int, chroma: str, size: tuple[int, int]) -> None:
    model, what = luma_model(2), spec(chroma, depth, size)
    given = planes(what)
    results = Evaluator(describe(model, what, edges="tensorrt"))(*[torch.from_numpy(_packed(p)) for p in given])
    expected = by_torch(model, what, given)
    unpacked = [_unpacked(result.numpy(), wanted) for result, wanted in zip(results, expected, strict=True)]
    assert_close(unpacked, expected)


def _packed(plane: Plane) -> npt.NDArray[np.generic]:
    """What stands beside an odd last sample is whatever was in that memory before."""
    if plane.itemsize == 1:
        return plane[None, None]
    return np.pad(plane.ravel(), (0, plane.size % 2), constant_values=0xA5A5).view(np.int32)


def _unpacked(result: npt.NDArray[np.generic], like: Plane) -> npt.NDArray[np.generic]:
    return result[0, 0] if like.itemsize == 1 else result.view(np.uint16)[: like.size].reshape(like.shape)


@pytest.mark.parametrize("edges", ["planes", "tensorrt"])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(("depth", "location"), [(8, "left"), (8, "topleft"), (10, "left"), (10, "center")])
@pytest.mark.parametrize("size", [(22, 14), (2, 2)])
def test_a_decoders_surfaces_give_the_same_bits(
    edges: Edges, scale: int, depth: int, location: str, size: tuple[int, int]
) -> None:
    """NV12 and P010, by torch and by ONNX's own evaluator; a third of the samples is 0, a third the maximum."""
    what = spec("420", depth, size, location)
    given = planes(what, scale)
    model = luma_model(scale)
    plain, paired = (describe(model, replace(what, surfaces=on), edges=edges) for on in (False, True))
    assert [value.name for value in paired.graph.input] == ["y", "uv"]
    for evaluate in (with_torch, with_onnx):
        results = evaluate(paired, [_edge(plane, edges) for plane in in_pairs(what, given)])
        for result, wanted in zip(results, evaluate(plain, [_edge(plane, edges) for plane in given]), strict=True):
            assert result.dtype == wanted.dtype
            assert np.array_equal(result, wanted)


@pytest.mark.parametrize("depth", [8, 10])
def test_a_decoders_surfaces_of_any_size_give_the_same_bits(depth: int) -> None:
    model = luma_model(2)
    paired = describe(model, replace(spec("420", depth), surfaces=True), edges="tensorrt", any_size=True)
    for size in ((24, 14), (32, 6)):
        what = spec("420", depth, size)
        given, kind = planes(what), np.uint8 if depth == 8 else np.int32
        inputs: list[npt.NDArray[np.generic]] = [plane.view(kind)[None, None] for plane in in_pairs(what, given)]
        expected = by_torch(model, what, given)
        for evaluate in (with_torch, with_onnx):
            results = [result.view(what.format.dtype)[0, 0] for result in evaluate(paired, inputs)]
            assert_close(results[1:], expected[1:])
            assert_close(results[:1], expected[:1], codes=1, share=0 if evaluate is with_torch else 0.01)


def in_pairs(what: FrameSpec, given: Planes) -> list[Plane]:
    """As a decoder leaves them on a GPU."""
    pairs = np.stack(given[1:], -1).reshape(given[1].shape[0], -1)
    return [(plane << what.format.shift).astype(plane.dtype) for plane in (given[0], pairs)]


def _edge(plane: Plane, edges: Edges) -> npt.NDArray[np.generic]:
    return _packed(plane) if edges == "tensorrt" else plane[None, None]


def with_torch(described: ModelProto, inputs: list[npt.NDArray[np.generic]]) -> list[npt.NDArray[np.generic]]:
    return [result.numpy() for result in Evaluator(described)(*map(torch.from_numpy, inputs))]


def with_onnx(described: ModelProto, inputs: list[npt.NDArray[np.generic]]) -> list[npt.NDArray[np.generic]]:
    names = [value.name for value in described.graph.input]
    found = ReferenceEvaluator(described).run(None, dict(zip(names, inputs, strict=True)))
    return [np.asarray(result) for result in found]


def test_in_half_surfaces_give_the_same_bits() -> None:
    """The same luma goes into the network: what it computes in fp16 isn't touched."""
    for depth in (8, 10):
        model, what = luma_model(2), spec("420", depth, (24, 18))
        plain, paired = (halved(describe(model, replace(what, surfaces=on))) for on in (False, True))
        given = planes(what)
        results = with_torch(paired, [plane[None, None] for plane in in_pairs(what, given)])
        for result, wanted in zip(results, with_torch(plain, [plane[None, None] for plane in given]), strict=True):
            assert np.array_equal(result, wanted)


def test_tensorrt_has_no_room_for_16_bits() -> None:
    with pytest.raises(ValueError, match="15 bits do"):
        describe(luma_model(), spec(depth=16), edges="tensorrt")


@pytest.mark.parametrize(("int8", "same"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(24, 18), (23, 17), (1, 1)])
def test_subpixels_are_the_same_samples(int8: bool, same: bool, scale: int, size: tuple[int, int]) -> None:
    model, what = luma_model(scale, int8=int8, same=same), spec("420", 8, size)
    given = planes(what)
    described = describe(model, what)
    rewritten = subpixels(described, scale)
    assert all(output.name.endswith(SUFFIX) for output in rewritten.graph.output)
    results = Evaluator(rewritten)(*[torch.from_numpy(plane[None, None]) for plane in given])
    shuffled = []
    for result, before, shape in zip(results, given, what.format.shapes(size[0] * scale, size[1] * scale), strict=True):
        plane = np.empty(shape, np.uint8)
        shuffle(result.numpy().reshape(before.shape[0], -1, scale**2), plane)
        shuffled.append(plane)
    assert_close(shuffled, by_torch(model, what, given), codes=1 if int8 else 0, share=0.0001)


def test_a_network_that_shuffles_twice() -> None:
    """x4 by two depth-to-space of 2: only a last one of the whole scale may be taken out."""
    once, what = luma_model(4, zero=True), spec("420", 8, (13, 10))
    twice = ModelProto()
    twice.CopyFrom(once.proto)
    twice.graph.node[-1].CopyFrom(helper.make_node("DepthToSpace", ["sum"], ["half"], blocksize=2, mode="CRD"))
    twice.graph.node.append(helper.make_node("DepthToSpace", ["half"], ["upscaled"], blocksize=2, mode="CRD"))
    model = LumaModel(proto=twice, scale=4, radius=None, peak=1)
    assert_close(by_torch(model, what, planes(what)), by_torch(once, what, planes(what)))
    names = [output.name for output in subpixels(describe(model, what), 4).graph.output]
    assert names == ["y_up", f"u_up{SUFFIX}", f"v_up{SUFFIX}"]


@pytest.mark.parametrize(("int8", "same"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("channels", "lanes"), [(8, 16), (16, 16), (4, 16), (4, 8), (5, 16)])
@pytest.mark.parametrize("size", [(24, 18), (23, 17), (22, 9)])
def test_full_lanes_give_the_same_samples(
    int8: bool, same: bool, channels: int, lanes: int, size: tuple[int, int]
) -> None:
    model, what = luma_model(2, channels=channels, int8=int8, same=same), spec("420", 8, size)
    narrow = subpixels(describe(model, what), 2)
    given = [torch.from_numpy(plane[None, None]) for plane in planes(what)]
    expected = [result.numpy() for result in Evaluator(narrow)(*given)]
    got = [result.numpy() for result in Evaluator(fill_lanes(narrow, lanes))(*given)]
    assert_close(got, expected, codes=int(int8), share=0.001)


def test_narrow_convolutions_are_grouped() -> None:
    """The speed rests on it; a pattern that no longer matches must not pass unseen."""
    for int8 in (False, True):
        narrow = subpixels(describe(luma_model(2, channels=8, body=2, int8=int8), spec()), 2)
        graph = fill_lanes(narrow, 16).graph
        strides = [list(a.ints) for node in graph.node if node.op_type == "Conv" for a in node.attribute]
        assert [strides.count([1, group]) for group in (2, 4)] == [3, 3], "three of 8 outputs; last, u and v"


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("size", [(24, 18), (23, 17)])
def test_unsigned_codes_give_the_same_samples(depth: int, scale: int, size: tuple[int, int]) -> None:
    model, what = luma_model(scale, channels=16, int8=True), spec("420", depth, size)
    signed = subpixels(describe(model, what), scale)
    rewritten = unsigned(signed)
    kinds = [node.op_type for node in rewritten.graph.node]
    assert kinds.count("QuantizeLinear") == 4 - (depth == 8), "8-bit samples are codes already"
    assert "Sub" not in kinds
    given = [torch.from_numpy(plane[None, None]) for plane in planes(what)]
    results = [[result.numpy() for result in Evaluator(proto)(*given)] for proto in (rewritten, signed)]
    assert_close(*results, codes=1 << depth - 8, share=0.005)  # where a sum lies between two codes


def _read_twice(graph: GraphProto) -> None:
    graph.node[-2].input[0] = "more"
    graph.node.insert(len(graph.node) - 2, helper.make_node("ReduceMax", ["conv1"], ["most"]))
    graph.node.insert(len(graph.node) - 2, helper.make_node("Add", ["conv3", "most"], ["more"]))


def _centred_elsewhere(graph: GraphProto) -> None:
    middle = numpy_helper.from_array(np.float32(127), "middle")
    next(tensor for tensor in graph.initializer if tensor.name == "middle").CopyFrom(middle)


def _no_zero_point(graph: GraphProto) -> None:
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.name != "weight1":
            del node.input[2:]


def _by_a_node(name: str, graph: GraphProto) -> None:
    """The constant comes from a node, as some exporters have it."""
    tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
    graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    graph.initializer.remove(tensor)


def _asymmetric(graph: GraphProto) -> None:
    next(tensor for tensor in graph.initializer if tensor.name == "zeros1").CopyFrom(
        numpy_helper.from_array(np.full(8, 3, np.int8), "zeros1")
    )


BY_NODES = [partial(_by_a_node, "step1"), partial(_by_a_node, "bias1")]
OTHERS = [None, _read_twice, _centred_elsewhere, _no_zero_point, _asymmetric, *BY_NODES]


@pytest.mark.parametrize("change", OTHERS)
def test_codes_of_other_networks_stay_signed(change: Callable[[GraphProto], None] | None) -> None:
    model = luma_model(2, int8=True, same=change is None)
    if change is not None:
        change(model.proto.graph)
    described = describe(model, spec("grey", 8, (24, 18)))
    assert unsigned(described) == described


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("cropped", [0, 1])
def test_shuffle_into_padded_rows(kind: type[np.generic], scale: int, cropped: int) -> None:
    samples = np.arange(5 * 6 * scale**2).reshape(5, 6, scale**2).astype(kind)
    buffer = np.zeros((5 * scale, 6 * scale + 7), kind)
    plane = buffer[: 5 * scale - cropped, : 6 * scale - cropped]
    shuffle(samples, plane)
    for y, x in np.ndindex(plane.shape):
        assert plane[y, x] == samples[y // scale, x // scale, y % scale * scale + x % scale]
    assert not buffer[:, 6 * scale :].any()


def _reflected(graph: GraphProto) -> None:
    graph.node[0].attribute[0].s = b"reflect"


def _used_twice(graph: GraphProto) -> None:
    graph.node[-2].input[0] = "doubled"
    graph.node.insert(len(graph.node) - 2, helper.make_node("Mul", ["conv3", "conv3"], ["doubled"]))


def _without_skip(graph: GraphProto) -> None:
    del graph.node[-2]
    graph.node[-1].input[0] = "conv3"


@pytest.mark.parametrize("change", [_reflected, _used_twice, _without_skip])
@pytest.mark.parametrize("size", [(24, 18), (23, 17)])
def test_subpixels_of_other_networks(change: Callable[[GraphProto], None], size: tuple[int, int]) -> None:
    """What looks like a shipped network and isn't: rewritten or left alone, never changed."""
    model, what = luma_model(2), spec("grey", 8, size)
    change(model.proto.graph)
    (given,) = planes(what)
    rewritten = subpixels(describe(model, what), 2)
    result = Evaluator(rewritten)(torch.from_numpy(given[None, None]))[0].numpy()
    plane = np.empty((2 * size[1], 2 * size[0]), np.uint8)
    if rewritten.graph.output[0].name.endswith(SUFFIX):
        shuffle(result.reshape(size[1], -1, 4), plane)
    else:
        plane[:] = result[0, 0]
    assert_close([plane], by_torch(model, what, (given,)))
