"""Opening input within limits, and the packets of its tracks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from vsr.errors import InputError
from vsr.report import Report

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

# Containers that hold media and nothing else: no playlists, no scripts, nothing that opens further files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,h263,vc1,"
    "asf,ogg,mxf,nut,gif,apng,yuv4mpegpipe,rm,wtv,dv,dirac,swf,nsv,amv,vob"
)
# What reading a damaged file raises in PyAV besides FFmpeg's own errors.
READ_ERRORS = (av.error.FFmpegError, UnicodeDecodeError, IndexError)


def open_input(path: str) -> InputContainer:
    """Opens a media file.

    Raises:
        InputError: missing, unreadable, not a media file, or without streams.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"{path}: no such file")
    if file.is_dir() or file.stat().st_size == 0:
        raise InputError(f"{path}: {'a folder' if file.is_dir() else 'the file is empty'}, not a video")
    limits = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{path}", "r", container_options=limits, metadata_errors="replace")
    except READ_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: can't be read as video ({reason})") from error


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The first real video track: pictures attached as cover art don't count.

    Raises:
        InputError: there is none, or its codec has no decoder.
    """
    for stream in container.streams.video:
        if not stream.disposition & type(stream.disposition).attached_pic:
            if stream.codec_context is None:
                raise InputError(f"{name}: no decoder for the codec of video track {stream.index}")
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise InputError(f"{name}: no video track (found {kinds})")


def packets(container: InputContainer, streams: list[Stream], report: Report) -> Iterator[Packet[Stream]]:
    """Packets of `streams` in file order, without the empty ones that only flush; unreadable ends are counted."""
    source = container.demux(streams)
    while True:
        try:
            packet = next(source, None)
        except READ_ERRORS as error:
            report.damaged(f"reading stopped: {getattr(error, 'strerror', None) or error}")
            return
        if packet is None:
            return
        if packet.size:
            yield packet
