"""A constant rate from results that come when they come; files with sound in step; pipes, streams, what is missing."""

from __future__ import annotations

import io
import socket
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from claps import clapper, claps
from live_fakes import FakeClock
from vsr import y4m
from vsr.errors import OutputError, UsageError, VsrError
from vsr.frame import Frame, PlanarFormat
from vsr.live.pace import Pace
from vsr.live.protocol import Shown, Sound
from vsr.live.record import RecordSink, form_of
from vsr.live.sinks import PipeSink
from vsr.report import Report

FORMAT = PlanarFormat()
RATE = Fraction(30)
MICROSECOND = Fraction(1, 1_000_000)


class FakeConsole:
    """Counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] += number


class FakeSource:
    label = "a test"
    rate: Fraction | None = RATE

    def __init__(self, sound: Any = None) -> None:
        self.sound = sound


def shown(seconds: float, level: int = 0, size: tuple[int, int] = (64, 48), ready: float | None = None) -> Shown:
    planes = FORMAT.views(np.full(FORMAT.nbytes(*size), level, np.uint8), *size)
    for plane in planes[1:]:
        plane[...] = 128
    frame = Frame(
        format=FORMAT, width=size[0], height=size[1], planes=planes, pts=round(seconds / MICROSECOND),
        time_base=MICROSECOND,
    )  # fmt: skip
    return Shown(frame, frame, seconds, 0, seconds if ready is None else ready, "m4c16", repeated=False)


def paced(times: list[float], rate: Fraction = RATE) -> tuple[list[float], FakeConsole]:
    """The pts, in seconds, of the source at each place."""
    console, places = FakeConsole(), list[float]()
    levels: dict[int, float] = {}
    pace = Pace(rate, lambda frame, place: places.append(levels[int(frame.planes[0][0, 0])]))
    for number, seconds in enumerate(times):
        levels[number % 251] = seconds
        pace.show(shown(seconds, number % 251), console)
    return places, console


def test_what_comes_at_the_rate_passes() -> None:
    times = [1000 + number / 30 for number in range(100)]
    places, console = paced(times)
    assert places == times
    assert not console.counts


def test_jitter_costs_no_frame() -> None:
    random = np.random.default_rng(0)
    times = [number / 30 + float(random.uniform(-0.011, 0.011)) for number in range(300)]
    places, console = paced(times)
    assert places == times
    assert not console.counts


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24), Fraction(59), Fraction(301, 10)])
def test_another_rate_neither_drifts_nor_bunches(rate: Fraction) -> None:
    times = [float(number / rate) for number in range(1800)]
    places, console = paced(times)
    assert max(abs(seconds - place / 30) for place, seconds in enumerate(places)) <= 0.76 / 30 + 1 / 30
    assert len(places) == pytest.approx(times[-1] * 30 + 1, abs=1.5)
    fresh = len(places) - console.counts["repeated for the constant rate"]
    assert fresh == 1800 - console.counts["dropped by the constant rate"]


def test_a_gap_is_filled_with_the_frame_before() -> None:
    places, console = paced([0, 1 / 30, 11 / 30])
    assert places == [0, *[1 / 30] * 10, 11 / 30]
    assert console.counts == {"repeated for the constant rate": 9}


def test_silence_is_written_on() -> None:
    console, places = FakeConsole(), list[int]()
    pace = Pace(RATE, lambda frame, place: places.append(place))
    pace.idle(99.0, console)
    pace.show(shown(5.0, ready=100.0), console)
    pace.idle(100.5, console)
    assert places == [0]
    pace.idle(103.0, console)
    assert places == list(range(60))
    pace.show(shown(8.0, ready=103.0), console)  # it was on its way; its place is 90
    assert places == list(range(91))
    pace.idle(103.9, console)
    assert places == list(range(91))


def test_y4m_is_fitted_to_the_first_size() -> None:
    stream = io.BytesIO()
    sink = PipeSink(stream, FakeClock())
    sink.begin(FakeConsole(), FakeSource())  # type: ignore[arg-type]
    for number, size in enumerate([(64, 48), (64, 48), (32, 24), (96, 48)]):
        sink.show(shown(number / 30, 200, size))
    stream.seek(0)
    header = y4m.read_header(stream)
    assert (header.width, header.height, header.rate) == (64, 48, RATE)
    luma = [frame.planes[0].copy() for frame in y4m.Reader(stream, header, Report()).frames()]
    assert len(luma) == 4
    assert (luma[2] == 200).all()
    assert (luma[3][:8] == 16).all()  # a wider shape gets black above


def test_a_player_that_was_closed_ends_the_run() -> None:
    class Closed(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    sink = PipeSink(Closed(), FakeClock())
    sink.begin(FakeConsole(), FakeSource())  # type: ignore[arg-type]
    assert sink.wants()
    sink.show(shown(0))
    assert not sink.wants()


def played(path: Path, sink: RecordSink, *, later: float = 0.0, lost: range = range(0), seed: int = 0) -> FakeConsole:
    """Gives the sink a clip as a live source would: jittered, without the frames of `lost`, on a clock of its own."""
    random, console = np.random.default_rng(seed), FakeConsole()
    with av.open(str(path)) as source:
        sink.begin(console, FakeSource(source.streams.audio[0]))  # type: ignore[arg-type]
        number = 0
        for packet in source.demux():
            if packet.stream.type == "audio" and packet.size:
                shift = round(Fraction(later) / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                sink.hear(Sound(packet, 0.0))
            for frame in packet.decode() if packet.stream.type == "video" else ():
                number += 1
                if number not in lost:
                    level = int(np.frombuffer(frame.planes[0], np.uint8)[0])
                    sink.show(shown(frame.time + later + float(random.uniform(-0.008, 0.008)), level))
        sink.close()
    return console


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_sound_stays_in_step(tmp_path: Path, suffix: str) -> None:
    clip, out = tmp_path / "clip.mkv", tmp_path / f"out{suffix}"
    clapper(clip, 12)
    form = form_of(str(out), overwrite=False)
    console = played(clip, RecordSink(str(out), form, clock=FakeClock()), later=5000.0, lost=range(100, 200))
    assert console.counts["repeated for the constant rate"] == 100
    flashes, bangs = claps(out)
    before = [bang - flash for flash, bang in zip(*claps(clip), strict=True)]
    kept = [number for number, flash in enumerate(claps(clip)[0]) if not 99 / 30 < flash < 200 / 30]
    assert len(flashes) == len(kept)
    after = [bangs[number] - flash for number, flash in zip(kept, flashes, strict=True)]
    assert np.abs(np.array(after) - np.array(before)[kept]).max() < 0.025


def test_sound_without_a_place_is_said(tmp_path: Path) -> None:
    clip, said = tmp_path / "clip.mkv", list[str]()
    with av.open(str(clip), "w") as target:
        video = target.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = target.add_stream("libopus", rate=48000, layout="stereo")
        target.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((72, 64), np.uint8), "yuv420p")))
        target.mux(video.encode(None))
        for begin in range(0, 9600, 960):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.float32), "flt", "stereo")
            samples.sample_rate, samples.pts, samples.time_base = 48000, begin, Fraction(1, 48000)
            target.mux(sound.encode(samples))
        target.mux(sound.encode(None))
    out = str(tmp_path / "out.mov")
    played(clip, RecordSink(out, form_of(out, overwrite=False), say=said.append, clock=FakeClock()))
    assert said == [f"{out}: without sound, as mov has no place for opus"]
    with av.open(out) as written:
        assert [stream.type for stream in written.streams] == ["video"]


def received(port: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield port.recv(65536)
        except TimeoutError:
            return


def test_a_stream_can_be_received(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        port.settimeout(0.5)
        target = f"udp://127.0.0.1:{port.getsockname()[1]}"
        sink = RecordSink(target, form_of(target, overwrite=False), clock=FakeClock())
        sink.begin(FakeConsole(), FakeSource())  # type: ignore[arg-type]
        for number in range(30):
            sink.show(shown(number / 30, 8 * number))
        sink.close()
        (tmp_path / "got.ts").write_bytes(b"".join(received(port)))
    with av.open(str(tmp_path / "got.ts")) as got:
        frames = list(got.decode(video=0))
    assert len(frames) == 30
    steps = {round((b.time - a.time) * 30, 3) for a, b in pairwise(frames)}
    assert steps == {1.0}
    assert int(np.frombuffer(frames[20].planes[0], np.uint8)[0]) == pytest.approx(160, abs=4)


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("{}/there.mkv", OutputError, "exists; --overwrite replaces it"),
        ("{}/nowhere/out.mkv", OutputError, "no such folder"),
        ("{}/out.avi", UsageError, "an address or a file"),
        ("srt://host:1", UsageError, "no streams to srt://"),
        ("/dev/video97", OutputError, "modprobe v4l2loopback"),
    ],
)
def test_what_cant_be_written_is_said(tmp_path: Path, target: str, error: type[VsrError], words: str) -> None:
    (tmp_path / "there.mkv").touch()
    with pytest.raises(error, match=words):
        form_of(target.format(tmp_path), overwrite=False)


def test_a_server_that_isnt_there() -> None:
    target = "rtmp://127.0.0.1:1/live"
    sink = RecordSink(target, form_of(target, overwrite=False), clock=FakeClock())
    sink.begin(FakeConsole(), FakeSource())  # type: ignore[arg-type]
    with pytest.raises(OutputError, match=r"rtmp://127.0.0.1:1/live: can't be written \(Connection refused\)"):
        sink.show(shown(0))
    sink.close()
