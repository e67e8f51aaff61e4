"""The GStreamer element, in real pipelines of this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gstreamer import TICK, Run, components, gstreamer, pack, unpack
from screens import until
from strong import assert_close, frame, planes, spec
from test_choice import Plan, engines_of
from vsr import Upscaler
from vsr.device.protocol import DeviceError, DeviceMemoryError
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


@pytest.fixture(scope="module")
def gst() -> Any:
    return gstreamer()


@pytest.fixture
def run(gst: Any) -> Iterator[Any]:
    runs: list[Run] = []

    def start(*arguments: str) -> Run:
        runs.append(Run(gst, *arguments))
        return runs[-1]

    yield start
    for each in runs:
        each.close()


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
