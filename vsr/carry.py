"""The other tracks on their way into the output: streams, packets in the order of the input, chapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from vsr import subtitles
from vsr.demux import first_packet, is_cover, packets
from vsr.report import Report
from vsr.sound import Transcoder
from vsr.tags import track_tags
from vsr.tracks import MIME, RULES, Container, Track, container_for, is_absurd

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

    from vsr.job import Job, Source


MILLISECOND = Fraction(1, 1000)
WRAPPED = 1 << 31  # Ogg's last packet, cut to less than nothing, lasts 2^32 ticks less what is cut off


class Converter(Protocol):
    """Turns a track's packets into others; `drain` gives what is left at the end."""

    def push(self, packet: Packet[Any]) -> Iterable[Packet[Any]]: ...
    def drain(self) -> Iterable[Packet[Any]]: ...


def add_tracks(
    source: InputContainer, target: OutputContainer, tracks: Iterable[Track], container: Container
) -> dict[int, Stream]:
    """Adds the kept tracks to the output: input index to output stream, attachments written at once."""
    streams: dict[int, Stream] = {}
    for track in sorted(tracks, key=lambda track: is_attached(track)):
        if track.action == "drop":
            continue
        stream = source.streams[track.index]
        if track.kind == "attachment" or track.kind == "cover" and RULES[container.muxer].attachments:
            _attach(stream, target)
            continue
        added = _added(stream, track, target)
        added.metadata.update(track_tags(stream, container.muxer))
        added.disposition = stream.disposition
        streams[track.index] = added
    return streams


def is_attached(track: Track) -> bool:
    """Whether it belongs to the file as a whole; such tracks come after those that have a time."""
    return track.kind in ("attachment", "cover")


def _added(stream: Stream, track: Track, target: OutputContainer) -> Stream:
    sound = track.sound
    if track.text:
        return subtitles.add_track(target, stream, track.text)
    if sound is None:
        return target.add_stream_from_template(stream, opaque=True)
    # its encoder only makes the header
    return target.add_stream(sound.encoder, sound.rate, layout=sound.layout, bit_rate=sound.bit_rate)


def _attach(stream: Stream, target: OutputContainer) -> None:
    codec = stream.codec_context.name if stream.codec_context is not None else ""
    mime = stream.metadata.get("mimetype") or MIME.get(codec, "application/octet-stream")
    name = stream.metadata.get("filename") or f"{'cover' if codec in MIME else 'attachment'}-{stream.index}"
    target.add_attachment(name, mime, attached(stream))


def attached(stream: Stream) -> bytes:
    """The content of an attachment or of cover art."""
    if not is_cover(stream):
        return stream.data  # type: ignore[attr-defined,no-any-return]
    return first_packet(stream)


def carried(
    job: Job, source: InputContainer, streams: dict[int, Stream], report: Report, *, global_header: bool
) -> Iterator[Packet[Any]]:
    """Packets of the kept tracks inside the job's range, moved by the common origin, about in order of time."""
    if not streams:
        return
    copying = Copying(job, streams)
    converters = _converters(job, source, streams, report, global_header=global_header)
    for packet in packets(source, [source.streams[index] for index in streams], report):
        if is_cover(packet.stream):
            packet.pts = packet.dts = 0
            packet.stream = streams[packet.stream.index]
            yield packet
        elif packet.stream.index in converters:
            yield from converters[packet.stream.index].push(packet)
        elif copying.takes(packet):
            yield packet
    for converter in converters.values():
        yield from converter.drain()


def _converters(
    job: Job, source: InputContainer, streams: dict[int, Stream], report: Report, *, global_header: bool
) -> dict[int, Converter]:
    made: dict[int, Converter] = {}
    for track in job.tracks:
        index, sound = track.index, track.sound
        if sound:
            made[index] = Transcoder(
                source.streams[index], streams[index], sound, job.source, report, global_header=global_header
            )
        elif track.text:
            made[index] = subtitles.Converter(source.streams[index], streams[index], track.text, job.source, report)
    return made


class Range:
    """Which packets lie in the job's range, and from when on they are shown there.

    Pictures of a cut track begin with a key frame and end where nothing in the range needs more of them. Subtitles that
    are shown as the range begins are shown from there on.

    Args:
        source: has the range.
        hidden: keep pictures that an edit list hides; only MP4 and MOV can hide them again.
    """

    def __init__(self, source: Source, *, hidden: bool) -> None:
        self._source, self._hidden = source, hidden
        self._keys: dict[int, Fraction] = {}

    def place(self, packet: Packet[Any]) -> Fraction | None:
        """Seconds of the input from which on the packet is shown; None for one that is left out."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None:
            return None
        time, kind = ticks * packet.time_base, packet.stream.type
        if kind == "video":
            return time if self._pictured(packet, time) else None
        begin, ends = self._source.range[0], time + (packet.duration or 0) * packet.time_base
        if kind == "subtitle" and begin is not None and time < begin < ends:
            return begin
        return time if self._source.holds(time) else None

    def _pictured(self, packet: Packet[Any], time: Fraction) -> bool:
        (begin, end), index = self._source.range, packet.stream.index
        decoded = time if packet.dts is None else packet.dts * packet.time_base
        if packet.is_discard and not self._hidden or end is not None and decoded >= end:
            return False
        if begin is None:
            return True
        if index not in self._keys and packet.is_keyframe and time >= begin:
            self._keys[index] = time
        return index in self._keys and time >= self._keys[index]


class Copying:
    """Copied packets: payload untouched, moved by the job's origin, each told from the others of its track."""

    def __init__(self, job: Job, streams: dict[int, Stream]) -> None:
        self._source, self._streams = job.source, streams
        self._range = Range(job.source, hidden=container_for(job.output).exact)
        self._numbers = dict.fromkeys(streams, -1)
        self._times: dict[int, int] = {}

    def takes(self, packet: Packet[Any]) -> bool:
        """Whether the packet lies in the range; then it is ready for the output."""
        time, index = packet.pts if packet.pts is not None else packet.dts, packet.stream.index
        if time is None:
            return False
        self._numbers[index] += 1
        start = self._range.place(packet)
        if start is None:
            return False
        late = round(start / packet.time_base) - time
        shift = round(self._source.origin / packet.time_base) - late
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        self._last(packet, time, late)
        packet.opaque = (index, self._numbers[index])
        packet.stream = self._streams[index]
        return True

    def _last(self, packet: Packet[Any], time: int, late: int) -> None:
        """How long it lasts: what doesn't say so, as long as the packet before; subtitles to the range's end."""
        index, end = packet.stream.index, self._source.range[1]
        if packet.duration and packet.duration >= WRAPPED:
            packet.duration = 0
        decoded = packet.dts if packet.dts is not None else packet.pts or 0
        if not packet.duration and packet.stream.type in ("audio", "video"):  # MP4 would lose the last of such packets
            packet.duration = max(0, decoded - self._times.get(index, decoded))
        elif packet.duration and packet.stream.type == "subtitle":
            rest = packet.duration if end is None else round(end / packet.time_base) - time
            packet.duration = max(1, min(packet.duration, rest) - late)
        self._times[index] = decoded


def kept_chapters(container: InputContainer, source: Source, *, gapless: bool = False) -> list[Any]:
    """Chapters moved by the common origin and cut to the job's range; those outside it are left out.

    Args:
        gapless: they follow one another from zero on, as in MP4: what comes before the first becomes one without a
            title, or the first would begin there.
    """
    begin, end = source.range
    kept = []
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        first, last = chapter["start"] * base, chapter["end"] * base
        if begin is not None and last <= begin or end is not None and first >= end or is_absurd(chapter):
            continue
        first, last = max(first, begin or first), min(last, end or last)
        ticks = (max(0, round((time - source.origin) / base)) for time in (first, last))
        kept.append({**chapter, "start": next(ticks), "end": next(ticks)})
    return _gapless(kept) if gapless and kept else kept


def _gapless(chapters: list[Any]) -> list[Any]:
    """In order, from zero on, each with a title if only an empty one: FFmpeg's muxer passes over the others."""
    first, *rest = sorted(chapters, key=_begins)
    before = [{**first, "start": 0, "end": first["start"], "metadata": {}}] if _begins(first) > MILLISECOND else []
    return [{**one, "metadata": {"title": ""} | one["metadata"]} for one in (*before, first, *rest)]


def _begins(chapter: Any) -> Fraction:
    begin: Fraction = chapter["start"] * (chapter["time_base"] or MILLISECOND)
    return begin
