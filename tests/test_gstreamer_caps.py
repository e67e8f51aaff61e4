"""What the GStreamer element says it takes and gives, and in which order libraries may be loaded for it."""

from __future__ import annotations

from typing import Any

import pytest

from gstreamer import gstreamer


@pytest.fixture(scope="module")
def gst() -> Any:
    return gstreamer()


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


def test_libraries_that_cannot_throw_together_are_told() -> None:
    """In the order loaded; the real thing ends the process."""
    from vsr.live.gstreamer.unwinding import libraries, mixed

    assert mixed(["/usr/bin/python3", "/lib/libstdc++.so.6", "/lib/libgcc_s.so.1", "/lib/libunwind.so.8"])
    assert not mixed(["/lib/libunwind.so.8", "/lib/libstdc++.so.6"])
    assert not mixed(["/lib/libstdc++.so.6", "/lib/libunwind-x86_64.so.8"])
    assert any("libc.so" in name for name in libraries())
