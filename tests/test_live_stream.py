"""Streams sent and served by the test itself, files at their own pace, cameras that aren't there."""

from __future__ import annotations

import functools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from clips import Clip, Sound
from screens import until
from vsr.errors import InputError, UsageError
from vsr.live import protocol
from vsr.live.feeds import Feed, bare, device_feed, devices, feed_of
from vsr.live.stream import StreamSource
from vsr.settings import Limits

LIMITS = Limits(timeout=3.0)
SECOND = 25  # frames
CLIP = Clip(pts=range(3 * SECOND), gop=5, size=(64, 48), sounds=[Sound(seconds=Fraction(3))])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CLIP.write(tmp_path_factory.mktemp("clips") / "clip.ts")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Sender:
    """Sends a clip to an address again and again, in real time, until it is stopped."""

    def __init__(self, clip: Path, address: str, **options: str) -> None:
        self._clip, self._address, self._options = clip, address, options
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        begin = time.monotonic()
        with av.open(str(self._clip)) as source:
            given = [s for s in source.streams if s.type in ("video", "audio")]
            with av.open(self._address, "w", format="mpegts", options=self._options) as target:
                tracks: dict[int, Any] = {s.index: target.add_stream_from_template(s) for s in given}
                while not self._stop.is_set():
                    for packet in source.demux(given):
                        if packet.dts is None:
                            continue
                        due = begin + float(packet.dts * packet.time_base)
                        if self._stop.wait(max(0.0, due - time.monotonic())):
                            return
                        packet.stream = tracks[packet.stream.index]
                        target.mux(packet)
                    self._stop.set()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


class Taking:
    """Takes all a source gives, in a thread."""

    def __init__(self, source: StreamSource) -> None:
        self.source, self.error = source, ""
        self.frames: list[tuple[float, float, int]] = []  # pts in seconds, at, number
        self.sounds: list[float] = []  # pts in seconds
        self.luma = 0
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        try:
            for item in self.source.frames():
                if isinstance(item, protocol.Sound):
                    self.sounds.append(float(item.packet.pts * item.packet.time_base))
                    continue
                frame = item.frame
                assert (frame.width, frame.height) == CLIP.size
                self.frames.append((float(frame.pts * frame.time_base), item.at, item.number))
                frame.release()
        except InputError as error:
            self.error = str(error)

    @property
    def ended(self) -> bool:
        return not self.thread.is_alive()


@contextmanager
def taking(source: StreamSource) -> Iterator[Taking]:
    taken = Taking(source)
    try:
        yield taken
    finally:
        source.close()
        taken.thread.join(20)
        assert taken.ended
        assert source.leased == 0


def test_a_file_plays_at_its_own_pace(clip: Path) -> None:
    source = StreamSource(feed_of(str(clip), LIMITS))
    assert source.label == f"{clip} 64x48"
    assert source.rate == SECOND
    with taking(source) as taken:
        until(lambda: taken.ended)
    assert taken.error == ""
    assert len(taken.frames) == 3 * SECOND
    assert [number for _, _, number in taken.frames] == list(range(3 * SECOND))
    first = taken.frames[0]
    early = [at - first[1] - (pts - first[0]) for pts, at, _ in taken.frames]
    assert min(early) > -0.005
    assert sorted(early)[len(early) // 2] < 0.3  # this machine may be busy
    assert len(taken.sounds) > 100


def test_closing_ends_it_early(clip: Path) -> None:
    begin = time.monotonic()
    with taking(StreamSource(feed_of(str(clip), LIMITS))) as taken:
        until(lambda: len(taken.frames) > 5)
    assert time.monotonic() - begin < 2.5
    assert len(taken.frames) < 3 * SECOND


def test_udp_is_received_with_sound_and_goes_on_after_a_break(clip: Path) -> None:
    address, said = f"udp://127.0.0.1:{free_port()}", list[str]()
    sender = Sender(clip, f"{address}?pkt_size=1316")
    source = StreamSource(feed_of(address, LIMITS), limits=LIMITS, say=said.append)
    with taking(source) as taken:
        until(lambda: len(taken.frames) > 10)
        sender.stop()
        until(lambda: any("nothing came for 3 s" in line for line in said))
        count, last = len(taken.frames), taken.frames[-1]
        sender = Sender(clip, f"{address}?pkt_size=1316")
        until(lambda: len(taken.frames) > count + 5)
        sender.stop()
    assert said[1:2] == [f"{address}: connected again"]
    times = [pts for pts, _, _ in taken.frames]
    assert all(a < b for a, b in pairwise(times))
    _, (pts, at, _) = last, taken.frames[count]
    assert abs((pts - last[0]) - (at - last[1])) < 1.5  # the silence counts
    assert all(a < b for a, b in pairwise(taken.sounds))
    assert abs(taken.sounds[-1] - times[-1]) < 1.5


class Untimed:
    """A container whose first packets have no time, as RTSP's before the server's first report."""

    def __init__(self, clip: Path) -> None:
        self._container = av.open(str(clip))
        self.streams, self.format, self.name = self._container.streams, self._container.format, str(clip)

    def demux(self, streams: Any) -> Iterator[Any]:
        for number, packet in enumerate(self._container.demux(streams)):
            if number < 3:
                packet.pts = packet.dts = None
            yield packet

    def close(self) -> None:
        self._container.close()


def test_packets_without_times_take_their_place(clip: Path) -> None:
    """Also after a break: this feed ends after three seconds of video, which come at once, and begins again."""
    opened: Any = lambda: Untimed(clip)  # noqa: E731
    with taking(StreamSource(Feed("untimed", opened, lasting=True))) as taken:
        until(lambda: len(taken.frames) > 3 * SECOND + 10)
    times = [pts for pts, _, _ in taken.frames]
    assert all(a < b for a, b in pairwise(times))
    assert times[0] < 0.5  # not where the clip's own clock begins
    assert all(b - a < 1.5 for a, b in pairwise(times))
    assert all(a < b for a, b in pairwise(taken.sounds))


def test_a_burst_is_handed_on_evenly(tmp_path: Path) -> None:
    burst = Clip(pts=range(6), gop=5, size=CLIP.size).write(tmp_path / "burst.ts")
    feed = Feed("burst", lambda: feed_of(str(burst), LIMITS).open(), lasting=True, sent=True)
    with taking(StreamSource(feed)) as taken:
        until(lambda: len(taken.frames) >= 6)
    ats = [at for _, at, _ in taken.frames[:6]]
    assert all(b - a > 0.8 / SECOND for a, b in pairwise(ats))


def test_a_stream_that_stays_silent_is_given_up() -> None:
    address, limits = f"udp://127.0.0.1:{free_port()}", Limits(timeout=0.5)
    with pytest.raises(InputError, match=r"nothing came for 0\.5 s \(--timeout"):
        StreamSource(feed_of(address, limits), limits=limits)


def test_patience_ends(clip: Path) -> None:
    address, limits = f"udp://127.0.0.1:{free_port()}", Limits(timeout=1.0)
    sender = Sender(clip, f"{address}?pkt_size=1316")
    source = StreamSource(feed_of(address, limits), limits=limits, patience=1.0)
    with taking(source) as taken:
        until(lambda: len(taken.frames) > 3)
        sender.stop()
        until(lambda: taken.ended)
    assert taken.error.endswith("given up after 1 s")


@pytest.fixture
def server(clip: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(clip.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def test_http_ends_where_it_ends(server: str, clip: Path) -> None:
    with taking(StreamSource(feed_of(f"{server}/{clip.name}", LIMITS))) as taken:
        until(lambda: taken.ended)
    assert taken.error == ""
    assert len(taken.frames) == 3 * SECOND


def test_http_files_play_at_their_own_pace(server: str, clip: Path) -> None:
    CLIP.write(clip.parent / "clip.mkv")  # which says how long it is
    with taking(StreamSource(feed_of(f"{server}/clip.mkv", LIMITS))) as taken:
        until(lambda: taken.ended)
    (first, began, _), (last, ended, _) = taken.frames[0], taken.frames[-1]
    assert ended - began > last - first - 0.1


def test_what_is_not_there_is_said_in_a_line(server: str) -> None:
    with pytest.raises(InputError, match="404"):
        feed_of(f"{server}/nothing.ts", LIMITS).open()
    with pytest.raises(InputError, match="Connection refused"):
        feed_of(f"rtmp://127.0.0.1:{free_port()}/live", LIMITS).open()
    with pytest.raises(InputError, match="Connection refused"):
        feed_of(f"rtsp://user:secret@127.0.0.1:{free_port()}/live", LIMITS).open()
    with pytest.raises(InputError, match="/dev/video99: no such device"):
        device_feed("/dev/video99", LIMITS).open()
    with pytest.raises(InputError, match="can't be captured"):
        device_feed("/dev/null", LIMITS).open()


def test_playlists_and_local_files_are_not_reached_by_an_address(server: str, clip: Path) -> None:
    (clip.parent / "list.txt").write_text("#EXTM3U\n#EXTINF:3,\nfile:///etc/passwd\n")
    with pytest.raises(InputError):
        feed_of(f"{server}/list.txt", LIMITS).open()
    with pytest.raises(UsageError, match="playlist"):
        feed_of("http://example.org/live.m3u8", LIMITS)


@pytest.mark.parametrize("address", ["srt://host:1", "file:///etc/passwd", "concat://x", "FTP://x/y"])
def test_other_kinds_of_address_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no streams by"):
        feed_of(address, LIMITS)


def test_passwords_are_not_shown() -> None:
    assert bare("rtsp://user:secret@camera/1") == "rtsp://camera/1"
    assert bare("http://host/a@b") == "http://host/a@b"


def test_a_size_over_the_limit_is_refused(clip: Path) -> None:
    limits = Limits(max_pixels=1000)
    with pytest.raises(InputError, match="over the limit"):
        StreamSource(feed_of(str(clip), limits), limits=limits)


def test_devices_are_listed(tmp_path: Path) -> None:
    for name, what in (("video10", "card"), ("video2", "camera"), ("vbi0", "text")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{what}\n")
    assert devices(tmp_path) == [("/dev/video2", "camera"), ("/dev/video10", "card")]
    assert devices(tmp_path / "none") == []
