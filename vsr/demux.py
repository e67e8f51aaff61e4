"""Opening input within limits, and the packets of its tracks."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from vsr.boxes import is_encrypted, lacks_index
from vsr.errors import InputError, UsageError
from vsr.limits import DECODERS, LIMITS, STREAMS, bind, check_size, opening
from vsr.report import Report
from vsr.sequences import files, pattern, row
from vsr.settings import Limits

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

MANY = 8  # ticks a packet; AAC, whose header may count half its samples, lasts two where the header says one
# What reading a damaged file raises in PyAV besides FFmpeg's own errors.
READ_ERRORS = (av.error.FFmpegError, UnicodeDecodeError, IndexError)


def open_input(path: str, limits: Limits = LIMITS, hwaccel: HWAccel | None = None) -> InputContainer:
    """Opens a media file; its decoders have the limits on them.

    Args:
        hwaccel: decodes the video, where it can.

    Raises:
        InputError: missing, unreadable, encrypted, not a media file, over a limit, or without streams.
    """
    first = files(path)[0]
    _check_file(str(first))
    try:
        container = _opened(path, limits, hwaccel) if pattern(path) is None else _numbered(path, limits)
    except READ_ERRORS as error:
        raise InputError(f"{path}: can't be read as video ({_reason(str(first), error)})") from error
    if len(container.streams) > STREAMS:
        raise InputError(f"{path}: more than {STREAMS} tracks and attachments")
    for stream in container.streams:
        bind(stream.codec_context, limits)
    return container


def _reason(path: str, error: Exception) -> str:
    if isinstance(error, av.error.InvalidDataError):
        if is_encrypted(path):
            return "it is encrypted"
        if lacks_index(path):
            return "its index is missing: the file is incomplete"
    if isinstance(error, av.error.ArgumentError):  # FFmpeg's word for what isn't in limits.FORMATS
        return "a kind of file that vsr doesn't open; it takes MP4, MOV, MKV, WebM, AVI, TS, FLV and others like these"
    return getattr(error, "strerror", None) or str(error)


def _check_file(path: str) -> None:
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path}: a folder, not a video")
    if not stat.S_ISREG(found.st_mode):  # a pipe or a device may never end, and is gone once read
        raise InputError(f'{path}: no file but a pipe or a device, not a video ("-" reads y4m from standard input)')
    if found.st_size == 0:
        raise InputError(f"{path}: the file is empty, not a video")


def _opened(path: str, limits: Limits, hwaccel: HWAccel | None) -> InputContainer:
    """The container. FFmpeg decodes a few pictures while it opens one, and must know the limits already then.

    Where tracks show only with their packets (FLV, MPEG-PS), it can't be told. There the file is opened without
    decoding first, and once more in the usual way only if the parsers found a size that is allowed.
    """
    url, options = f"file:{path}", opening(limits)
    per_track: Any = [{}]  # PyAV refuses these, by an error that is told by its text, where there are no tracks yet
    try:
        return av.open(url, "r", options=options, stream_options=per_track, metadata_errors="replace", hwaccel=hwaccel)
    except ValueError as error:
        if not str(error).startswith("stream_options"):
            raise
    blind = av.open(url, "r", options=options | {"codec_whitelist": "none"}, metadata_errors="replace")
    sizes = [(stream.width, stream.height) for stream in blind.streams.video if stream.codec_context]
    for size in sizes:
        check_size(path, *size, limits)
    if (0, 0) in sizes:
        return blind
    blind.close()
    return av.open(url, "r", options=options, metadata_errors="replace", hwaccel=hwaccel)


def _numbered(path: str, limits: Limits) -> InputContainer:
    """Pictures of a sequence, a packet each; a time is a picture's place in the row."""
    sequence = pattern(path)
    assert sequence is not None
    more = {"format_whitelist": "image2", "start_number": str(row(path, sequence)[0])}
    return av.open(f"file:{path}", "r", format="image2", options=opening(limits) | more)


def video_stream(
    container: InputContainer, name: str, limits: Limits = LIMITS, number: int | None = None
) -> VideoStream:
    """The video track to upscale: the `number`-th, else of those marked as default the largest.

    Pictures attached as cover art don't count.

    Raises:
        InputError: there is none, its codec isn't decoded, it is encrypted or over a limit.
        UsageError: there is no such number.
    """
    tracks = [stream for stream in container.streams.video if not is_cover(stream)]
    if not tracks:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(f"{name}: no video track (found {kinds})")
    if number is not None and number >= len(tracks):
        known = ", ".join(f"{n}: {_described(stream)}" for n, stream in enumerate(tracks))
        raise UsageError(f"--stream {number}: {name} has {known}")
    chosen = max(tracks, key=_rank) if number is None else tracks[number]
    _check_track(container, chosen, name, limits)
    return chosen


def is_cover(stream: Stream) -> bool:
    """Whether it is a picture that belongs to the file as a whole."""
    return stream.type == "video" and bool(stream.disposition & type(stream.disposition).attached_pic)


def _rank(stream: VideoStream) -> tuple[bool, bool, int]:
    context, marked = stream.codec_context, bool(stream.disposition & type(stream.disposition).default)
    return (False, marked, 0) if context is None else (context.name in DECODERS, marked, context.width * context.height)


def _described(stream: VideoStream) -> str:
    context = stream.codec_context
    return "unknown codec" if context is None else f"{context.name} {context.width}x{context.height}"


def _check_track(container: InputContainer, stream: VideoStream, name: str, limits: Limits) -> None:
    track, context = f"{name}: video track {stream.index}", stream.codec_context
    boxes = "mp4" in container.format.name
    if "enc_key_id" in stream.metadata or (boxes and is_encrypted(container.name.removeprefix("file:"))):
        raise InputError(f"{track} is encrypted; vsr can't decrypt")
    if context is None:
        raise InputError(f"{track} has a codec without decoder")
    if context.name not in DECODERS:
        raise InputError(f"{track} is {context.name}, which vsr doesn't decode")
    check_size(name, context.width, context.height, limits)


def packets(container: InputContainer, streams: list[Stream], report: Report) -> Iterator[Packet[Stream]]:
    """Packets of `streams` in file order, without the empty ones that only flush; unreadable ends are counted."""
    source, lasting = container.demux(streams), Lasting()
    counted = container.format.name == "avi"
    while True:
        try:
            packet = next(source, None)
        except READ_ERRORS as error:
            report.damaged(f"reading stopped: {getattr(error, 'strerror', None) or error}")
            return
        if packet is None:
            return
        if packet.size:
            if counted and packet.stream.type == "audio":
                lasting.mend(packet)
            yield packet


class Lasting:
    """Times of AVI's sound where the header says it is many times shorter than its packets last.

    Such a track has one tick a packet, and its packets last many: each then begins where the one before ends.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int, int]] = {}  # of each track's last packet: pts read, duration, lateness

    def mend(self, packet: Packet[Any]) -> None:
        """Moves a packet's time; of each track they come in file order."""
        if packet.pts is None:
            return
        read, (last, lasted, late) = packet.pts, self._last.get(packet.stream.index, (0, 0, 0))
        if read == last + 1 and lasted >= MANY:
            late += lasted - 1
        self._last[packet.stream.index] = read, packet.duration or 0, late
        packet.pts = packet.dts = read + late


def first_packet(stream: Stream) -> bytes:
    """The content of a track's first packet, or nothing; the file is opened anew, so that none is taken from others."""
    with open_input(stream.container.name.removeprefix("file:")) as container:
        return bytes(next(packets(container, [container.streams[stream.index]], Report()), b""))
