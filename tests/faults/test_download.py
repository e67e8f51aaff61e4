"""Addresses as input: servers that answer, are slow, silent, stop midway, redirect, or have nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clips import Clip, Sound
from vsr.cli.run import main
from vsr.demux import open_input
from vsr.download import TRIES, download, local
from vsr.errors import InputError, OutputError
from vsr.settings import RunSettings

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def whole(request: BaseHTTPRequestHandler, data: bytes) -> None:
    """As servers of files answer: parts too, when asked for."""
    asked = request.headers.get("Range")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    request.send_response(206 if asked else 200)
    if asked:
        request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    request.send_header("Content-Length", str(len(data) - start))
    request.send_header("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT")
    request.end_headers()
    request.wfile.write(data[start:])


def from_the_start(request: BaseHTTPRequestHandler, data: bytes) -> None:
    """Knows no parts."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)


def stopping(answer: Answer, times: int, share: float = 0.5) -> Answer:
    """The first `times` answers end after a share of what they promise."""
    left = [times]

    def stop(request: BaseHTTPRequestHandler, data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            answer(request, data)
            return
        promised, write = request.wfile, request.wfile.write
        most = [int(share * len(data))]

        class Some:
            def write(self, block: bytes) -> None:
                write(block[: most[0]] if len(block) > 1000 else block)

            def __getattr__(self, name: str) -> Any:
                return getattr(promised, name)

        request.wfile = Some()  # type: ignore[assignment]
        answer(request, data)
        request.close_connection = True

    return stop


def slow(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    for begin in range(0, len(data), 1 + len(data) // 8):
        request.wfile.write(data[begin : begin + 1 + len(data) // 8])
        time.sleep(0.05)


def status(code: int, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler, data: bytes) -> None:
        request.send_response(code)
        for name, value in ({"Content-Length": "0"} | headers).items():
            request.send_header(name, value)
        request.end_headers()

    return answer


def endless(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(data)


class Server:
    """Answers every request alike, and remembers them."""

    def __init__(self, data: bytes, answer: Answer) -> None:
        asked = self.asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.headers.get("Range") or self.path)
                answer(self, data)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/clips/in%20put.mkv?key=1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    return Clip(pts=range(40), gop=8, sounds=[Sound(codec="flac")]).write(tmp_path / "in.mkv").read_bytes()


@pytest.fixture
def serve(clip: bytes) -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(clip, answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def now(seconds: float) -> None:
    """Instead of waiting."""


@pytest.mark.parametrize(
    ("answer", "asked"),
    [(whole, 1), (from_the_start, 1), (slow, 1), (stopping(whole, 1), 2), (stopping(from_the_start, 2), 3)],
    ids=["whole", "without parts", "slow", "stops once", "stops twice, without parts"],
)
def test_the_copy_is_the_file(
    tmp_path: Path, clip: bytes, serve: Callable[[Answer], Server], answer: Answer, asked: int
) -> None:
    server = serve(answer)
    assert download(server.url, tmp_path / "copy", 5, now) == ""
    assert (tmp_path / "copy").read_bytes() == clip
    assert len(server.asked) == asked
    if asked == 2:
        assert server.asked[1] == f"bytes={len(clip) // 2}-"


def changing(heeds: bool) -> Answer:
    """Another file of the same length after the first answer, which breaks; `heeds`: knows If-Range."""
    count = [0]

    def answer(request: BaseHTTPRequestHandler, data: bytes) -> None:
        count[0] += 1
        wanted, later = request.headers.get("If-Range"), data[::-1] if count[0] > 1 else data
        if wanted and heeds:
            assert wanted == '"1"'
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1]) if not heeds else 0
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.send_header("ETag", '"1"' if count[0] == 1 else '"2"')
        request.end_headers()
        request.wfile.write(later[start:] if count[0] > 1 else data[: len(data) // 2])
        request.close_connection = True

    return answer


@pytest.mark.parametrize("heeds", [True, False])
def test_parts_of_two_files_are_never_joined(
    tmp_path: Path, clip: bytes, serve: Callable[[Answer], Server], heeds: bool
) -> None:
    server = serve(changing(heeds))
    assert download(server.url, tmp_path / "copy", 5, now) == ""
    assert (tmp_path / "copy").read_bytes() == clip[::-1]
    assert len(server.asked) == (2 if heeds else 3)


def test_a_copy_made_again_passes_for_the_same_file(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    for name in ("a", "b"):
        download(serve(whole).url, tmp_path / name, 5, now)
    assert (tmp_path / "a").stat().st_mtime_ns == (tmp_path / "b").stat().st_mtime_ns == 1795262400 * 10**9


def run(server: Server, folder: Path, repeat: dict[int, Path], *words: str) -> int:
    report = str(folder / "report.json")
    model = ("--model", str(repeat[2]), "--precision", "float32")
    return main([server.url, str(folder / "out.mkv"), "--report", report, *model, *words])


def test_an_address_is_upscaled_like_a_file(
    tmp_path: Path, serve: Callable[[Answer], Server], repeat: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(whole)
    assert run(server, tmp_path, repeat) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["input"], report["frames_written"]) == (server.url, 40)
    assert f"{server.url}: downloading it first" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv", "report.json"]


def test_a_server_that_goes_away_midway_is_damage(
    tmp_path: Path, clip: bytes, serve: Callable[[Answer], Server], repeat: dict[int, Path]
) -> None:
    server = serve(stopping(from_the_start, 99))
    assert run(server, tmp_path, repeat) == 5
    report = json.loads((tmp_path / "report.json").read_text())
    assert 5 < report["frames_written"] < 40
    size = len(clip)
    assert (
        f"download: the connection ended after {size // 2} of {size} bytes, {size // 2} bytes in all"
        in report["damage"]
    )
    assert len(server.asked) == TRIES


@pytest.mark.parametrize(
    ("answer", "reason", "asked"),
    [
        (status(404), "can't be read (the server says 404 Not Found)", 1),
        (status(503), "can't be read (the server says 503 Service Unavailable)", TRIES),
        (status(302, Location="file:///etc/passwd"), "not allowed", 1),
        (status(302, Location="ftp://127.0.0.1/x.mp4"), "unknown url type: ftp", TRIES),
        (status(200), "can't be read (it is empty)", 1),
        (endless, "the server doesn't say how long it is; record it first", 1),
    ],
    ids=["404", "503", "redirect to a file", "redirect to ftp", "empty", "endless"],
)
def test_what_comes_to_nothing_is_one_line(
    tmp_path: Path,
    serve: Callable[[Answer], Server],
    capsys: pytest.CaptureFixture[str],
    answer: Answer,
    reason: str,
    asked: int,
) -> None:
    server = serve(answer)
    with pytest.raises(InputError) as caught:
        download(server.url, tmp_path / "copy", 5, now)
    assert str(caught.value).startswith(f"{server.url}: ")
    assert reason in str(caught.value)
    assert len(server.asked) == asked


def test_silence_ends_with_the_timeout(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        with pytest.raises(InputError, match="timed out"):
            download(f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4", tmp_path / "copy", 0.1, now)
        assert time.monotonic() - begin < 0.1 * TRIES + 2


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    waits: list[float] = []
    with pytest.raises(InputError, match="Connection refused"):
        download(f"http://127.0.0.1:{port}/a.mp4", tmp_path / "copy", 1, waits.append)
    assert waits == [0.5, 1, 2]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("rtsp://127.0.0.1/live", "record a stream first"),
        ("udp://127.0.0.1:5000", "record a stream first"),
        ("srt://127.0.0.1:5000", "record a stream first"),
        ("file:///etc/passwd", "record a stream first"),
        ("http://127.0.0.1/live.m3u8?x=1", "record a stream first"),
        ("http://[::1/a.mp4", "not an address"),
        ("http:///a.mp4", "can't be read (no host given)"),
        ("http://127.0.0.1:x/a.mp4", "can't be read (nonnumeric port: 'x')"),
    ],
)
def test_addresses_that_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, reason: str
) -> None:
    assert main([address, str(tmp_path / "out.mp4"), "--timeout", "0.5"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"vsr-run: {address}: ")
    assert reason in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_no_space_no_download(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    huge = serve(status(200, **{"Content-Length": str(1 << 60)}))
    with pytest.raises(OutputError, match="MiB are free"):
        download(huge.url, tmp_path / "copy", 1, now)


def test_only_the_command_line_goes_to_the_network(serve: Callable[[Answer], Server]) -> None:
    server = serve(whole)
    with pytest.raises(InputError, match="no such file"):
        open_input(server.url)
    assert server.asked == []


def test_an_error_names_the_address(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(whole)
    settings = RunSettings(input=server.url, output=str(tmp_path / "out.mp4"))
    with pytest.raises(InputError, match=r"http.*: broken"), local(settings, lambda line: None, now) as source:
        raise InputError(f"{source.settings.input}: broken")
    assert os.listdir(tmp_path) == ["in.mkv"]  # noqa: PTH208
