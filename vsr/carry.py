"""The other tracks on their way into the output: streams, packets in the order of the input, chapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from vsr.demux import packets
from vsr.report import Report
from vsr.sound import Transcoder
from vsr.tags import stored_language
from vsr.tracks import Container, Track

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import AttachmentStream, Stream

    from vsr.job import Job, Source


class Converter(Protocol):
    """Turns a track's packets into others; `drain` gives what is left at the end."""

    def push(self, packet: Packet[Any]) -> list[Packet[Any]]: ...
    def drain(self) -> list[Packet[Any]]: ...


def add_tracks(
    source: InputContainer, target: OutputContainer, tracks: Iterable[Track], container: Container
) -> dict[int, Stream]:
    """Adds the kept tracks to the output: input index to output stream, attachments written at once."""
    streams: dict[int, Stream] = {}
    for track in tracks:
        if track.action == "drop":
            continue
        stream = source.streams[track.index]
        if track.kind == "attachment":
            _attach(stream, target)  # type: ignore[arg-type]
            continue
        added = _added(stream, track, target)
        added.metadata.update(stream.metadata)
        if track.language:
            added.metadata["language"] = stored_language(track.language, container.muxer)
        added.disposition = stream.disposition
        streams[track.index] = added
    return streams


def _added(stream: Stream, track: Track, target: OutputContainer) -> Stream:
    sound = track.sound
    if sound is None:
        return target.add_stream_from_template(stream, opaque=True)
    # its encoder only makes the header
    return target.add_stream(sound.encoder, sound.rate, layout=sound.layout, bit_rate=sound.bit_rate)


def _attach(stream: AttachmentStream, target: OutputContainer) -> None:
    name = stream.metadata.get("filename", f"attachment-{stream.index}")
    target.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)


def carried(
    job: Job, source: InputContainer, streams: dict[int, Stream], report: Report, *, global_header: bool
) -> Iterator[Packet[Any]]:
    """Packets of the kept tracks inside the job's range, moved by the common origin, about in order of time."""
    if not streams:
        return
    copying = Copying(job.source, streams)
    converters: dict[int, Converter] = {
        track.index: Transcoder(
            source.streams[track.index],
            streams[track.index],
            track.sound,
            job.source,
            report,
            global_header=global_header,
        )
        for track in job.tracks
        if track.sound is not None and track.index in streams
    }
    for packet in packets(source, [source.streams[index] for index in streams], report):
        if packet.stream.index in converters:
            yield from converters[packet.stream.index].push(packet)
        elif copying.takes(packet):
            yield packet
    for converter in converters.values():
        yield from converter.drain()


class Copying:
    """Copied packets: payload untouched, moved by the job's origin, each told from the others of its track."""

    def __init__(self, source: Source, streams: dict[int, Stream]) -> None:
        self._source, self._streams = source, streams
        self._numbers = dict.fromkeys(streams, -1)
        self._times: dict[int, int] = {}

    def takes(self, packet: Packet[Any]) -> bool:
        """Whether the packet lies in the range; then it is ready for the output."""
        time, index = packet.pts if packet.pts is not None else packet.dts, packet.stream.index
        if time is None:
            return False
        self._numbers[index] += 1
        if not self._source.holds(time * packet.time_base):
            return False
        shift = round(self._source.origin / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        if not packet.duration and packet.stream.type == "audio":  # MP4 would lose the last of such packets
            packet.duration = max(0, time - self._times.get(index, time))
        self._times[index] = time
        packet.opaque = (index, self._numbers[index])
        packet.stream = self._streams[index]
        return True


def kept_chapters(container: InputContainer, source: Source) -> list[Any]:
    """Chapters moved by the common origin and cut to the job's range; those outside it are left out."""
    begin, end = source.range
    kept = []
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        first, last = chapter["start"] * base, chapter["end"] * base
        if begin is not None and last <= begin or end is not None and first >= end:
            continue
        first, last = max(first, begin or first), min(last, end or last)
        ticks = (max(0, round((time - source.origin) / base)) for time in (first, last))
        kept.append({**chapter, "start": next(ticks), "end": next(ticks)})
    return kept
