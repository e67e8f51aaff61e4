"""An address is downloaded first, then treated as the file it is.

A run reads its input several times, and seeks; a server may answer differently each time, or go away. FFmpeg itself is
never given an address: it would follow what a file refers to, and doesn't check certificates unless told to.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from vsr import __version__
from vsr.errors import InputError, OutputError
from vsr.report import Report
from vsr.settings import RunSettings

TRIES = 4  # connections in all
WAIT = 0.5  # seconds before the second; twice as long before each further one
BLOCK = 1 << 16
BROKEN = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)
PLAYLISTS = (".m3u8", ".m3u", ".mpd")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)$")


@dataclass(frozen=True)
class Local:
    """Settings whose input is a file.

    Args:
        given: the input as the user named it.
        missing: where a download broke for good, what of it; else "".
    """

    settings: RunSettings
    given: str
    missing: str = ""

    def complete(self, report: Report) -> Report:
        """The report with the input's own name, and with what the download lost."""
        report.input = self.given
        if self.missing:
            report.damaged(self.missing)
        return report


@contextmanager
def local(
    settings: RunSettings, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> Iterator[Local]:
    """The settings as they are for a path; for an address with a copy as input, which is removed at the end.

    The copy lies beside the output, where there must be space anyway, or in the temporary folder for a sink.

    Args:
        say: takes a line for the user before a download.
        sleep: waits between connections.

    Raises:
        InputError: the address can't be read, is a live stream or playlist, or doesn't say how much there is to read.
        OutputError: no folder, or not enough space.
    """
    url, found = settings.input, _SCHEME.match(settings.input)
    if found is None:
        yield Local(settings, url)
        return
    if found[1].lower() not in ("http", "https") or url.partition("?")[0].lower().endswith(PLAYLISTS):
        raise InputError(f"{url}: only files are taken from http and https; record a stream first")
    beside = Path(settings.output).parent if settings.sink is None and settings.output != "-" else None
    if beside is not None and not beside.is_dir():
        raise OutputError(f"{beside}: no such folder")
    with tempfile.TemporaryDirectory(prefix=".vsr-download-", dir=beside) as folder:
        copy = Path(folder, _name(url))
        say(f"{url}: downloading it first")
        missing = download(url, copy, settings.limits.timeout, sleep)
        try:
            yield Local(replace(settings, input=str(copy)), url, missing)
        except InputError as error:
            raise InputError(str(error).replace(str(copy), url)) from error


def _name(url: str) -> str:
    """A file name for the copy: the last part of the address, of plain characters only."""
    last = unquote(url.partition("?")[0].partition("#")[0]).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]", "_", last).lstrip(".")[-80:] or "input"


def download(url: str, target: Path, timeout: float, sleep: Callable[[float], None] = time.sleep) -> str:
    """Writes what the server has, continuing where a connection broke.

    Args:
        timeout: seconds without a byte after which a connection counts as broken.
        sleep: waits between connections.

    Returns:
        "", or what is missing when the last connection broke midway.

    Raises:
        InputError: nothing came. OutputError: not enough space.
    """
    transfer, problem = _Transfer(url, timeout), ""
    with target.open("wb") as file:
        for number in range(TRIES):
            if number:
                sleep(WAIT * 2 ** (number - 1))
            try:
                transfer.proceed(file)
                problem = f"the connection ended after {file.tell()} of {transfer.length} bytes"
            except urllib.error.HTTPError as error:
                problem = f"the server says {error.code} {error.reason}"
                if error.code < 500:
                    break
            except BROKEN as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            if file.tell() == transfer.length:
                break
        received = file.tell()
    os.utime(target, (transfer.modified, transfer.modified))
    if not received:
        raise InputError(f"{url}: can't be read ({problem if transfer.length != 0 else 'it is empty'})")
    return "" if received == transfer.length else f"download: {problem}, {received} bytes in all"


class _Transfer:
    """One file on a server, asked for once or in parts."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url, self._timeout = url, timeout
        self.length: int | None = None
        self._version = ""  # as the server names it: parts of two versions are no file
        self.modified = 0.0  # seconds since 1970, so that a copy made again passes for the same file

    def proceed(self, file: BinaryIO) -> None:
        """Asks for what `file` doesn't have yet, and adds it as far as it comes."""
        headers = {"User-Agent": f"vsr/{__version__}", "Accept-Encoding": "identity"}
        if file.tell():
            headers["Range"] = f"bytes={file.tell()}-"
            if self._version:
                headers["If-Range"] = self._version  # RFC 9110 13.1.5
        try:
            request = urllib.request.Request(quote(self._url, safe="%/:=&?~#+!$,;'@()*[]"), headers=headers)
            answer = _opener().open(request, timeout=self._timeout)
        except ValueError as error:
            raise InputError(f"{self._url}: not an address ({error})") from error
        with answer:
            self._begin(answer, file)
            while block := answer.read1(BLOCK):
                _add(file, block)

    def _begin(self, answer: http.client.HTTPResponse, file: BinaryIO) -> None:
        """Puts `file` where the answer goes on: from the start where the server can't continue."""
        version = _version(answer)
        if answer.status == 206:
            span = _RANGE.match(answer.headers.get("Content-Range", ""))
            if span and (int(span[1]), int(span[2]), version) == (file.tell(), self.length, self._version):
                return
        file.seek(0)
        file.truncate()
        if answer.status == 206:
            raise ConnectionError("the file on the server has changed")
        self._version = version
        length = answer.headers.get("Content-Length", "")
        if answer.status != 200 or not length.isdigit():
            raise InputError(f"{self._url}: the server doesn't say how long it is; record it first")
        self.length = int(length)
        free = shutil.disk_usage(Path(file.name).parent).free
        if self.length > free:
            raise OutputError(f"{self._url}: {self.length >> 20} MiB are to be downloaded, {free >> 20} MiB are free")
        stamp = answer.headers.get("Last-Modified")
        try:
            self.modified = parsedate_to_datetime(stamp).timestamp() if stamp else 0.0
        except (ValueError, OverflowError):
            self.modified = 0.0


def _version(answer: http.client.HTTPResponse) -> str:
    """What tells a file from a later one of the same name: a strong entity tag or a date, RFC 9110 8.8."""
    tag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _add(file: BinaryIO, block: bytes) -> None:
    try:
        file.write(block)
        file.flush()  # else the last block meets a full disk only when the file is closed
    except OSError as error:
        raise OutputError(f"{file.name}: can't be written ({error.strerror})") from error


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https and nothing else, wherever a server redirects to."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener
