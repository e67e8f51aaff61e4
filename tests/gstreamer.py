"""GStreamer for tests: PyGObject of this environment, or Debian's where this interpreter can load it; a pipeline."""

from __future__ import annotations

import importlib
import shutil
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vsr.errors import UsageError
from vsr.frame import Planes
from vsr.graph import FrameSpec

TICK = 1_000_000_000 // 25  # nanoseconds
DEBIAN = "/usr/lib/python3/dist-packages"


def gstreamer() -> Any:
    """The module `vsr.live.gstreamer.binding`, the element registered; skips and says why where that can't be."""
    from vsr.live.gstreamer import register

    if "gi" not in sys.modules:
        sys.path.append(DEBIAN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyGObject's importer is of an older form
            register()
            return importlib.import_module("vsr.live.gstreamer.binding")
    except UsageError as error:
        pytest.skip(str(error))
    finally:
        if DEBIAN in sys.path:  # its other packages are none of this environment's business
            sys.path.remove(DEBIAN)


def program(name: str) -> str:
    """The path of one of GStreamer's or the desktop's programs; skips where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


class Run:
    """appsrc ! vsrupscale ! appsink: caps and buffers go in, samples come out."""

    def __init__(self, gst: Any, options: str = "", after: str = "") -> None:
        self.gst = gst
        source, sink = "appsrc name=in format=time stream-type=seekable", "appsink name=out sync=false"
        text = f"{source} ! vsrupscale name=up {options} {after} ! {sink}"
        self.pipeline = gst.Gst.parse_launch(text)
        self.source, self.element, self.sink = (self.pipeline.get_by_name(name) for name in ("in", "up", "out"))
        self.source.connect("seek-data", lambda *_: True)
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
