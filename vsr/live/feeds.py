"""What a stream comes from, opened within the limits: a camera, an address, a file at its own pace."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from vsr.demux import READ_ERRORS, open_input, video_stream
from vsr.errors import InputError, UsageError
from vsr.limits import FORMATS, bind, opening
from vsr.settings import Limits

if TYPE_CHECKING:
    from av.container import InputContainer

# By scheme: the protocols and further formats that FFmpeg may use for it.
SCHEMES = {
    "rtsp": ("rtsp,rtp,udp,tcp", "rtsp,sdp,rtp"),
    "rtsps": ("rtsps,rtsp,rtp,udp,tcp,tls", "rtsp,sdp,rtp"),
    "rtmp": ("rtmp,tcp", ""),
    "rtmps": ("rtmps,rtmp,tls,tcp", ""),
    "udp": ("udp", ""),
    "rtp": ("rtp,udp", "rtp,sdp"),
    "tcp": ("tcp", ""),
    "http": ("http,tcp", ""),
    "https": ("https,http,tls,tcp", ""),
}
LASTING = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp")  # whose end is a break; that of others is the end
# A second is looked at before a stream begins; it isn't lost, as its key frame may be the only one for long.
CONNECTING = {"analyzeduration": "1000000", "rtsp_transport": "tcp"}
VIDEO_DEVICES = Path("/sys/class/video4linux")


@dataclass(frozen=True)
class Feed:
    """Where packets come from.

    Args:
        label: for the screen, without passwords.
        open: anew each time. Raises InputError.
        lasting: goes on after it broke off: worth connecting to again.
        paced: comes faster than it is to be shown, as a file does.
        sent: comes through a network, so unevenly.
    """

    label: str
    open: Callable[[], InputContainer]
    lasting: bool = False
    paced: bool = False
    sent: bool = False


def feed_of(name: str, limits: Limits) -> Feed:
    """An address or a file by its name. Raises UsageError for an address of a kind that isn't taken."""
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", name)
    if scheme is None:
        return Feed(name, lambda: open_input(name, limits), paced=True)
    kind = scheme[1].lower()
    if kind not in SCHEMES:
        more = "; this FFmpeg has no SRT, another program can turn it into UDP" if kind == "srt" else ""
        raise UsageError(f"{name}: no streams by {kind}:// ({', '.join(SCHEMES)} are known{more})")
    if ".m3u8" in name:
        raise UsageError(f"{name}: a playlist, which names files of its own; vsr-live takes streams")
    return Feed(bare(name), lambda: _connect(name, kind, limits), lasting=kind in LASTING, sent=True)


def bare(address: str) -> str:
    """An address without user and password."""
    return re.sub(r"(//)[^/@]*@", r"\1", address)


def _connect(address: str, kind: str, limits: Limits) -> InputContainer:
    protocols, formats = SCHEMES[kind]
    allowed = {"protocol_whitelist": protocols, "format_whitelist": f"{FORMATS},{formats}".rstrip(",")}
    options = opening(limits) | allowed | CONNECTING
    try:
        container = av.open(address, "r", options=options, timeout=limits.timeout, metadata_errors="replace")
    except READ_ERRORS as error:
        raise InputError(f"{bare(address)}: {why(error, limits)}") from error
    return _checked(container, bare(address), limits)


def why(error: Exception, limits: Limits) -> str:
    """What FFmpeg says of a connection, in words."""
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {limits.timeout:g} s (--timeout waits longer)"
    return getattr(error, "strerror", None) or str(error)


def device_feed(path: str, limits: Limits, rate: int | None = None) -> Feed:
    """A camera or capture card of Video4Linux.

    Args:
        rate: frames a second to ask it for; None leaves its own.
    """
    return Feed(f"device {path}", lambda: _open_device(path, limits, rate))


def _open_device(path: str, limits: Limits, rate: int | None) -> InputContainer:
    if not Path(path).is_char_device():
        raise InputError(f"{path}: no such device (vsr-live --list shows them)")
    options = {"codec_whitelist": opening(limits)["codec_whitelist"]} | ({"framerate": str(rate)} if rate else {})
    try:
        container = av.open(path, "r", format="v4l2", options=options, timeout=limits.timeout)
    except READ_ERRORS as error:
        raise InputError(f"{path}: can't be captured ({why(error, limits)})") from error
    return _checked(container, path, limits)


def _checked(container: InputContainer, name: str, limits: Limits) -> InputContainer:
    try:
        for stream in container.streams:
            bind(stream.codec_context, limits)
        video_stream(container, name, limits)
    except InputError:
        container.close()
        raise
    return container


def devices(folder: Path = VIDEO_DEVICES) -> list[tuple[str, str]]:
    """(path, name) of cameras and capture cards; the folder is where Linux lists them."""
    found = sorted(folder.glob("video*"), key=lambda entry: (len(entry.name), entry.name))
    return [(f"/dev/{entry.name}", (entry / "name").read_text().strip()) for entry in found]
