"""The GStreamer element, in real pipelines of this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gstreamer import gstreamer
from screens import until, xvfb
from strong import assert_close, frame, planes, spec
from test_choice import Plan, engines_of
from vsr import Upscaler
from vsr.device.protocol import DeviceError, DeviceMemoryError
from vsr.frame import Planes
from vsr.graph import FrameSpec
from vsr.live.x11 import Display
from vsr.settings import EngineSettings
from vsr.upscaler import UpscaleStage

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


def sizes(gst: Any, caps: Any) -> list[tuple[Any, Any]]:
    structures = [caps.get_structure(index) for index in range(caps.get_size())]
    return [(structure.get_value("width"), structure.get_value("height")) for structure in structures]


def offered(gst: Any, element: Any, pad: str, neighbour: str) -> Any:
    """What `pad` can do with a filter of `neighbour` caps behind the other one; None when they can't be linked."""
    pipeline, filter = gst.Gst.Pipeline.new(None), gst.Gst.ElementFactory.make("capsfilter", None)
    filter.set_property("caps", gst.Gst.Caps.from_string(f"video/x-raw,{neighbour}"))
    pipeline.add(element)
    pipeline.add(filter)
    one, two = (element, filter) if pad == "sink" else (filter, element)
    return element.get_static_pad(pad).query_caps(None) if one.link(two) else None


def make(gst: Any, **options: Any) -> Any:
    element = gst.Gst.ElementFactory.make("vsrupscale", None)
    for name, value in options.items():
        element.set_property(name, value)
    return element


def test_sizes_are_multiplied_and_divided(gst: Any) -> None:
    assert sizes(gst, offered(gst, make(gst), "src", "format=NV12,width=30,height=22")) == [(60, 44)]
    assert sizes(gst, offered(gst, make(gst, scale=3), "sink", "format=NV12,width=90,height=66")) == [(30, 22)]
    assert offered(gst, make(gst, scale=3), "sink", "format=NV12,width=91,height=66") is None
    several = offered(gst, make(gst), "sink", "format=NV12,width={30,31,32},height=[9,21]")
    assert [(list(width), height.range) for width, height in sizes(gst, several)] == [([15, 16], range(5, 10))]


def test_ranges_keep_their_steps() -> None:
    gstreamer()
    from vsr.live.gstreamer.caps import MAXIMUM, divided, multiplied

    assert multiplied(range(2, 8, 2), 3) == range(6, 24, 6)
    assert multiplied([4, range(1, MAXIMUM)], 2) == [8, range(2, MAXIMUM - 1, 2)]
    assert multiplied(MAXIMUM // 2 + 1, 2) is None
    assert divided(range(6, 24, 6), 3) == range(2, 8, 2)
    assert divided(range(1, MAXIMUM), 4) == range(1, MAXIMUM // 4)
    assert divided(range(4, 7, 1), 4) == 1
    assert divided(range(5, 7, 1), 4) is None
    assert divided([7, 8, 9], 4) == 2
    for step, scale in ((1, 2), (2, 2), (3, 2), (4, 3), (6, 4)):
        given = range(12, 120, step)
        wanted = [size // scale for size in range(12, 121, step) if size % scale == 0]
        got = divided(given, scale)
        assert isinstance(got, range)
        assert list(range(got.start, got.stop + 1, got.step)) == wanted


def test_colours_are_written_out_before_their_default_changes(gst: Any) -> None:
    """480 lines mean BT.601 where caps don't tell, 960 mean BT.709."""
    caps = offered(gst, make(gst), "src", "format=I420,width=640,height=480,framerate=25/1")
    assert (caps.get_structure(0).get_string("colorimetry"), caps.get_structure(0).get_string("chroma-site")) == (
        "bt601",
        "jpeg",
    )
    told = offered(gst, make(gst), "src", "format=I420,width=640,height=480,framerate=25/1,chroma-site=mpeg2")
    assert told.get_structure(0).get_string("chroma-site") == "mpeg2"


@pytest.mark.parametrize(("site", "location"), [("jpeg", "center"), ("cosited", "topleft"), ("v-cosited", "top")])
def test_the_chroma_site_is_the_engines(gst: Any, run: Any, site: str, location: str) -> None:
    what = spec(size=(40, 24), location=location)
    one = run("network=cubic")
    caps = gst.Gst.Caps.from_string(f"video/x-raw,format=I420,width=40,height=24,framerate=25/1,chroma-site={site}")
    one.source.set_property("caps", caps)
    info = gst.GstVideo.VideoInfo.new_from_caps(caps)
    given = frame(what, 3)
    one.push(pack(given.planes, components(gst, info), info.size), 0)
    stage = UpscaleStage(EngineSettings(network="cubic"))
    for sample, wanted in zip(one.end(), stage.frames([given]), strict=True):
        assert_close(unpack(gst, sample, what), wanted.planes)
        wanted.release()
    stage.close()


def test_times_are_kept_and_the_end_brings_all(gst: Any, run: Any) -> None:
    one = run("network=cubic latency-budget=1000")
    one.caps("GRAY8", 16, 16)
    for index in range(7):
        one.push(bytes([index]) * 256, index)
    buffers = [sample.get_buffer() for sample in one.end()]
    assert [(buffer.pts, buffer.duration) for buffer in buffers] == [
        (1000 + index * TICK, TICK - index) for index in range(7)
    ]
    assert [buffer.extract_dup(0, 1)[0] for buffer in buffers] == list(range(7))
    assert one.element.get_property("engine").startswith("cubic openvino cpu")


def test_the_size_may_change_in_the_stream(gst: Any, run: Any) -> None:
    one = run("network=cubic")
    seen = [("GRAY8", 16, 16), ("GRAY8", 24, 8), ("I420", 16, 16), ("GRAY8", 16, 16)]
    for number, (name, width, height) in enumerate(seen):
        one.caps(name, width, height)
        for index in range(3):
            one.push(bytes([10 * number + index]) * (width * height * 3 // (2 if name == "I420" else 3)), index)
    got = []
    for sample in one.end():
        structure, data = sample.get_caps().get_structure(0), sample.get_buffer().extract_dup(0, 1)
        got.append(
            (structure.get_string("format"), *(structure.get_value(f) // 2 for f in ("width", "height")), data[0])
        )
    assert got == [(*what, 10 * number + index) for number, what in enumerate(seen) for index in range(3)]


def test_options_may_change_while_it_plays(gst: Any, run: Any) -> None:
    one = run("network=cubic threads=2")

    def in_work() -> int:
        work = one.element._work
        return 0 if work is None else len(work._flight)

    one.caps("GRAY8", 16, 16)
    one.push(bytes(256), 0)
    one.push(bytes(256), 1)
    until(lambda: in_work() == 2)
    one.element.set_property("scale", 3)
    one.push(bytes(256), 2)
    until(lambda: in_work() == 1)
    one.element.set_property("network", "cubic-sharp")  # alone, no caps change with it
    one.push(bytes(256), 3)
    assert [sample.get_caps().get_structure(0).get_value("width") for sample in one.end()] == [32, 32, 48, 48]
    assert one.element.get_property("engine").startswith("cubic-sharp")


def test_a_flush_forgets_what_is_in_work(gst: Any, run: Any) -> None:
    one = run("network=cubic")
    one.caps("GRAY8", 16, 16)
    for index in range(8):
        one.push(bytes([1]) * 256, index)
    assert one.sink.emit("try-pull-sample", 30 * gst.Gst.SECOND) is not None
    time.sleep(0.2)  # the others are on their way, some of them in work
    assert not one.element._work.empty
    assert one.pipeline.send_event(
        gst.Gst.Event.new_seek(
            1.0, gst.Gst.Format.TIME, gst.Gst.SeekFlags.FLUSH, gst.Gst.SeekType.SET, 0, gst.Gst.SeekType.NONE, -1
        )
    )
    for index in range(3):
        one.push(bytes([5 + index]) * 256, index)
    assert [sample.get_buffer().extract_dup(0, 1)[0] for sample in one.end()] == [5, 6, 7]


def test_a_late_frame_is_skipped_and_counted(gst: Any, run: Any) -> None:
    one = run("network=cubic latency-budget=0")
    one.caps("GRAY8", 16, 16)
    one.push(bytes(256), 0)
    assert one.sink.emit("try-pull-sample", 30 * gst.Gst.SECOND) is not None
    late = gst.Gst.Event.new_qos(gst.Gst.QOSType.UNDERFLOW, 2.0, 2 * TICK, 1000)  # the sink's: 1000 + 2 ticks was late
    assert one.sink.get_static_pad("sink").push_event(late)
    for index in range(1, 8):
        one.push(bytes(256), index)
    times = [sample.get_buffer().pts for sample in one.end()]
    assert times == [1000 + index * TICK for index in range(3, 8)]
    message = one.pipeline.get_bus().timed_pop_filtered(0, gst.Gst.MessageType.QOS)
    assert message.src == one.element


@pytest.mark.parametrize(("options", "frames"), [("", 0), ("latency-budget=85", 2), ("latency-budget=39", 0)])
def test_latency_is_what_is_waited_for(gst: Any, options: str, frames: int) -> None:
    """At 25 frames a second; two threads have room for three frames."""
    text = (
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=32,height=32,framerate=25/1 ! identity name=before "
    )
    pipeline = gst.Gst.parse_launch(f"{text} ! vsrupscale name=up network=cubic threads=2 {options} ! fakesink")
    try:
        pipeline.set_state(gst.Gst.State.PLAYING)
        assert pipeline.get_state(30 * gst.Gst.SECOND)[1] == gst.Gst.State.PLAYING
        least = {}
        for name in ("before", "up"):
            query = gst.Gst.Query.new_latency()
            assert pipeline.get_by_name(name).get_static_pad("src").query(query)
            live, least[name], _ = query.parse_latency()
            assert live
        added = (least["up"] - least["before"]) / TICK
        assert frames <= added < frames + 1
    finally:
        pipeline.set_state(gst.Gst.State.NULL)


def test_what_cannot_run_is_said_in_a_line(gst: Any, run: Any) -> None:
    for options, line in (("network=nonesuch", "no network 'nonesuch'"), ("backend=nonesuch", "no backend 'nonesuch'")):
        one = run(options)
        one.caps("GRAY8", 16, 16)
        one.push(bytes(256), 0)
        assert one.error()[0].startswith(line)


def test_a_buffer_too_small_is_an_error(gst: Any, run: Any) -> None:
    one = run("network=cubic")
    one.caps("I420", 16, 16)
    one.push(bytes(100), 0)
    assert one.error()[0].startswith("a buffer of 100 bytes can't hold I420 16x16")


def test_interlaced_video_is_warned_of(gst: Any, run: Any) -> None:
    one = run("network=cubic")
    one.caps("GRAY8", 16, 16, ",interlace-mode=interleaved")
    one.push(bytes(256), 0)
    message = one.pipeline.get_bus().timed_pop_filtered(30 * gst.Gst.SECOND, gst.Gst.MessageType.WARNING)
    assert "deinterlace" in message.parse_warning()[0].message


def test_libraries_that_cannot_throw_together_are_told() -> None:
    """In the order loaded; the real thing ends the process."""
    from vsr.live.gstreamer.unwinding import libraries, mixed

    assert mixed(["/usr/bin/python3", "/lib/libstdc++.so.6", "/lib/libgcc_s.so.1", "/lib/libunwind.so.8"])
    assert not mixed(["/lib/libunwind.so.8", "/lib/libstdc++.so.6"])
    assert not mixed(["/lib/libstdc++.so.6", "/lib/libunwind-x86_64.so.8"])
    assert any("libc.so" in name for name in libraries())


@pytest.mark.parametrize("kind", [DeviceError, DeviceMemoryError])
def test_no_buffer_is_lost_whenever_an_engine_breaks(gst: Any, kind: type[DeviceError]) -> None:
    from vsr.live.gstreamer.caps import info
    from vsr.live.gstreamer.work import Work

    def caps(width: int, height: int) -> Any:
        text = f"video/x-raw,format=GRAY8,width={width},height={height},framerate=25/1"
        return info(gst.Gst.Caps.from_string(text))

    for call in range(1, 40):
        plan, got = Plan({call: kind}), []
        work = Work(
            EngineSettings(),
            caps(32, 16),
            caps(64, 32),
            live=call % 2 == 0,
            budget=120,
            engines=lambda settings, plan=plan: engines_of(plan),
        )
        for index in range(8):
            wanted = gst.Gst.Buffer.new_allocate(None, 64 * 32, None)
            work.start(gst.Gst.Buffer.new_wrapped(bytes([index]) * 512), wanted)
            got += [work.finish()] if work.full else []
        while not work.empty:
            got.append(work.finish())
        work.close()
        assert [buffer.extract_dup(0, 64 * 32) for buffer in got] == [bytes([index]) * 2048 for index in range(8)]
        assert plan.calls < call or any("failed" in note or "memory" in note or "not " in note for note in work.notes)


@contextmanager
def game(display: str, folder: Path) -> Iterator[int]:
    """chocolate-doom playing its first demonstration with freedoom's data; the window's number."""
    program = shutil.which("chocolate-doom", path=f"{os.environ['PATH']}:/usr/games")
    data = Path("/usr/share/games/doom/freedoom1.wad")
    if program is None or not data.exists():
        pytest.skip("chocolate-doom or freedoom isn't installed")
    environment = os.environ | {"DISPLAY": display, "HOME": str(folder), "SDL_AUDIODRIVER": "dummy"}
    command = [program, "-iwad", str(data), "-window", "-geometry", "640x480", "-nosound", "-playdemo", "demo1"]
    playing = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    windows = Display(display)

    def found() -> list[int]:
        return [window.id for window in windows.windows() if (window.width, window.height) == (640, 480)]

    try:
        until(lambda: bool(found()))
        yield found()[0]
    finally:
        windows.close()
        playing.terminate()
        playing.wait(30)


@pytest.mark.slow
def test_a_real_game_as_it_plays(gst: Any, tmp_path: Path) -> None:
    with xvfb() as display, game(display, tmp_path) as window:
        pipeline = gst.Gst.parse_launch(
            f"ximagesrc display-name={display} xid={window} use-damage=false num-buffers=40 "
            "! video/x-raw,framerate=10/1 ! videoconvert ! video/x-raw,format=I420 ! tee name=both "
            "both. ! queue ! appsink name=given sync=false "
            "both. ! queue ! vsrupscale name=up network=m4c8 ! appsink name=got sync=false"
        )
        try:
            pipeline.set_state(gst.Gst.State.PLAYING)
            given, got = ({}, {})
            for name, samples in (("given", given), ("got", got)):
                sink = pipeline.get_by_name(name)
                while (sample := sink.emit("try-pull-sample", 60 * gst.Gst.SECOND)) is not None:
                    samples[sample.get_buffer().pts] = unpack(gst, sample, spec())[0].copy()
        finally:
            pipeline.set_state(gst.Gst.State.NULL)
    assert len(given) == 40
    assert set(got) <= set(given)
    assert len(got) > 20, "a machine this busy shows nothing"
    assert len({plane.tobytes() for plane in given.values()}) > 5, "the game stands still"
    with Upscaler(network="m4c8") as upscaler:
        for pts, plane in got.items():
            assert_close((plane,), (upscaler(given[pts]),))
