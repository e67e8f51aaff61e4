"""The GStreamer element, in real pipelines of this process."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from gstreamer import gstreamer
from strong import assert_close, planes, spec

from vsr import Upscaler
from vsr.frame import Planes
from vsr.graph import FrameSpec

FORMATS = {
    "I420": ("420", 8),
    "YV12": ("420", 8),
    "NV12": ("420", 8),
    "NV21": ("420", 8),
    "GRAY8": ("grey", 8),
    "Y42B": ("422", 8),
    "Y444": ("444", 8),
    "I420_10LE": ("420", 10),
    "I422_10LE": ("422", 10),
    "Y444_10LE": ("444", 10),
    "I420_12LE": ("420", 12),
    "GRAY16_LE": ("grey", 16),
}
TICK = 1_000_000_000 // 25


@pytest.fixture(scope="module")
def gst() -> Any:
    return gstreamer()


class Run:
    """appsrc ! vsrupscale ! appsink: caps and buffers go in, samples come out."""

    def __init__(self, gst: Any, options: str = "", after: str = "") -> None:
        self.gst = gst
        text = f"appsrc name=in format=time ! vsrupscale name=up {options} {after} ! appsink name=out sync=false"
        self.pipeline = gst.Gst.parse_launch(text)
        self.source, self.element, self.sink = (self.pipeline.get_by_name(name) for name in ("in", "up", "out"))
        self.pipeline.set_state(gst.Gst.State.PLAYING)

    def caps(self, name: str, width: int, height: int, more: str = "") -> Any:
        text = f"video/x-raw,format={name},width={width},height={height},framerate=25/1,chroma-site=mpeg2{more}"
        caps = self.gst.Gst.Caps.from_string(text)
        self.source.set_property("caps", caps)
        return caps

    def push(self, data: bytes, index: int, add: Any = None) -> None:
        buffer = self.gst.Gst.Buffer.new_wrapped(data)
        buffer.pts, buffer.duration = 1000 + index * TICK, TICK - index
        if add is not None:
            add(buffer)
        assert self.source.emit("push-buffer", buffer) == self.gst.Gst.FlowReturn.OK

    def end(self) -> list[Any]:
        """Every sample there is, until the end of the stream."""
        self.source.emit("end-of-stream")
        return list(self.samples())

    def samples(self) -> Iterator[Any]:
        while (sample := self.sink.emit("try-pull-sample", 30 * self.gst.Gst.SECOND)) is not None:
            yield sample
        assert self.sink.get_property("eos"), self.error()

    def error(self) -> Any:
        """The first error that was told, as (line, debug)."""
        message = self.pipeline.get_bus().timed_pop_filtered(30 * self.gst.Gst.SECOND, self.gst.Gst.MessageType.ERROR)
        error, debug = message.parse_error()
        return error.message, debug

    def close(self) -> None:
        self.pipeline.set_state(self.gst.Gst.State.NULL)


@pytest.fixture
def run(gst: Any) -> Iterator[Any]:
    runs: list[Run] = []

    def start(*arguments: str) -> Run:
        runs.append(Run(gst, *arguments))
        return runs[-1]

    yield start
    for each in runs:
        each.close()


def components(gst: Any, info: Any, meta: Any = None) -> list[tuple[int, int, int]]:
    """Offset, stride and step of each component, in the order Y, U, V, from GStreamer's own description."""
    told, f = meta or info, info.finfo
    found = [(told.offset[f.plane[c]] + f.poffset[c], told.stride[f.plane[c]], f.pixel_stride[c]) for c in range(3)]
    return found[: f.n_components]


def pack(samples: Planes, parts: list[tuple[int, int, int]], size: int) -> bytes:
    memory = bytearray(b"\xa5" * size)  # what lies between rows must not matter
    for plane, (offset, stride, step) in zip(samples, parts, strict=True):
        np.ndarray(plane.shape, plane.dtype, memory, offset, (stride, step))[:] = plane
    return bytes(memory)


def unpack(gst: Any, sample: Any, what: FrameSpec) -> Planes:
    buffer, info = sample.get_buffer(), gst.GstVideo.VideoInfo.new_from_caps(sample.get_caps())
    data = buffer.extract_dup(0, buffer.get_size())
    shapes = what.format.shapes(info.width, info.height)
    parts = components(gst, info, gst.GstVideo.buffer_get_video_meta(buffer))
    return tuple(
        np.ndarray(shape, what.format.dtype, data, offset, (stride, step))
        for shape, (offset, stride, step) in zip(shapes, parts, strict=True)
    )


@pytest.mark.parametrize(("name", "scale"), [*((name, 2) for name in FORMATS), ("NV12", 3), ("I420_10LE", 4)])
def test_it_gives_what_upscaler_gives(gst: Any, run: Any, name: str, scale: int) -> None:
    what = spec(*FORMATS[name], size=(37, 21))
    one = run(f"scale={scale}")
    info = gst.GstVideo.VideoInfo.new_from_caps(one.caps(name, 37, 21))
    pictures = [planes(what, seed) for seed in range(4)]
    for index, picture in enumerate(pictures):
        one.push(pack(picture, components(gst, info), info.size), index)
    samples = one.end()
    assert len(samples) == len(pictures)
    with Upscaler(scale=scale) as upscaler:
        for picture, sample in zip(pictures, samples, strict=True):
            wanted = upscaler(picture, depth=what.format.depth)
            assert_close(unpack(gst, sample, what), wanted)


@pytest.mark.parametrize("name", ["I420", "NV12", "I420_10LE", "GRAY8"])
def test_strides_of_the_buffer_count(gst: Any, run: Any, name: str) -> None:
    what = spec(*FORMATS[name], size=(40, 24))
    one = run()
    info = gst.GstVideo.VideoInfo.new_from_caps(one.caps(name, 40, 24))
    count, f = info.finfo.n_planes, info.finfo
    strides = [info.stride[plane] + 64 + 32 * plane for plane in range(count)]
    offsets = [128 + 8192 * plane for plane in range(count)]

    def add(buffer: Any) -> None:
        flags, four = gst.GstVideo.VideoFrameFlags.NONE, [0] * (4 - count)
        arguments = (flags, f.format, 40, 24, count, offsets + four, strides + four)
        gst.GstVideo.buffer_add_video_meta_full(buffer, *arguments)

    parts = [
        (offsets[f.plane[c]] + f.poffset[c], strides[f.plane[c]], f.pixel_stride[c]) for c in range(f.n_components)
    ]
    pictures = [planes(what, seed) for seed in range(3)]
    for index, picture in enumerate(pictures):
        one.push(pack(picture, parts, 8192 * 4), index, add)
    with Upscaler() as upscaler:
        for picture, sample in zip(pictures, one.end(), strict=True):
            assert_close(unpack(gst, sample, what), upscaler(picture, depth=what.format.depth))
