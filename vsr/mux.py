"""Packets to a file: header, tracks in step, trailer. The file has a temporary name until somebody verified it."""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from math import ceil, lcm, log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from vsr.carry import add_tracks, carried, is_attached, kept_chapters
from vsr.colour import moved
from vsr.convert import has_alpha
from vsr.demux import open_input
from vsr.encode import configure, open_encoder
from vsr.errors import OutputError, VsrError
from vsr.job import Job
from vsr.report import LeftOut, Report
from vsr.sei import family_of
from vsr.tags import file_tags, is_keyed, track_tags
from vsr.tracks import container_for

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

GLOBAL_HEADER = 0x40  # AVFMT_GLOBALHEADER
MIN_TIMESCALE = 10000  # FFmpeg's mov muxer
MAX_TIMESCALE = 2**31 - 1  # ISO/IEC 14496-12 8.2.2: timescale is 32 bits; FFmpeg keeps it signed
NULL_PACKET = b"\x47\x1f\xff\x10".ljust(188, b"\xff")  # of a transport stream: ISO/IEC 13818-1 2.4.1
RECOGNISED = 11  # packets: FFmpeg's first look at a file takes 2048 bytes


def mux(job: Job, video: Iterable[Packet[Any]], path: Path, report: Report) -> set[LeftOut]:
    """Writes the upscaled track and the copied ones to `path`.

    Other tracks are read from the input a second time, just ahead of the picture's time, so no queue has to hold them
    however the input is interleaved.

    Args:
        video: packets in decoding order, ticks of the job's time base.

    Returns:
        Copied packets that the muxer refused, which are damage and counted: AAC without its header, times that fall.

    Raises:
        OutputError: it can't be written. UsageError: the encoder refuses its options.
    """
    left_out = set[LeftOut]()
    with writing(job.output), _begun(job, path, report) as (target, track, others):
        for packet in heapq.merge(_last_held(_assigned(video, track)), others, key=_when):
            if packet.stream is track:
                report.frames_written += 1
                with report.stage("mux"):
                    target.mux_one(packet)
            elif not _written(target, packet, report) and packet.opaque:
                left_out.add(packet.opaque)  # type: ignore[arg-type]
    if container_for(job.output).muxer == "mpegts":
        with writing(job.output):
            _fill(path)
    return left_out


def _fill(path: Path) -> None:
    """Null packets at the end of a transport stream that is too short to be recognised by FFmpeg's players."""
    missing = RECOGNISED - path.stat().st_size // len(NULL_PACKET)
    with path.open("ab") as file:
        file.write(NULL_PACKET * max(0, missing))


def rehearse(job: Job) -> None:
    """Writes the planned header to nowhere: what the muxer or the encoder refuses shows before the first frame.

    Raises as `mux` does.
    """
    with writing(job.output), _begun(job, Path(os.devnull), Report()):
        pass


@contextmanager
def _begun(
    job: Job, path: Path, report: Report
) -> Iterator[tuple[OutputContainer, VideoStream, Iterator[Packet[Any]]]]:
    """The output with its header written, the upscaled track in it, and the packets of the others."""
    piped, muxer = job.source.path == "-", container_for(job.output).muxer
    with (
        nullcontext() if piped else open_input(job.source.path, job.source.limits) as source,
        av.open(f"file:{path}", "w", format=muxer, container_options=_options(job, source)) as target,
    ):
        track = _video_track(job, target)
        others: Iterator[Packet[Any]] = iter(())
        if source is not None:
            streams = add_tracks(source, target, job.tracks, container_for(job.output))
            others = carried(job, source, streams, report, global_header=global_header(job))
            _describe(job, source, target)
        _start(job, target)
        yield target, track, others


def _written(target: OutputContainer, packet: Packet[Any], report: Report) -> bool:
    """Writes a copied packet; False where the muxer doesn't take it."""
    kind, time = packet.stream.type, _when(packet)
    try:
        with report.stage("mux"):
            target.mux_one(packet)
    except (av.error.InvalidDataError, av.error.ArgumentError) as error:
        report.damaged(f"{kind} packet at {time:.3f} s can't be stored ({error.strerror}): left out")
        return False
    report.packets_copied += 1
    return True


def _start(job: Job, target: OutputContainer) -> None:
    """Writes the header. Where it can't be, the encoder by itself says whether its options are why."""
    try:
        target.start_encoding()
    except (av.error.FFmpegError, ValueError):
        open_encoder(job, global_header=global_header(job))
        raise


def global_header(job: Job) -> bool:
    """Whether the container keeps the encoder's header apart from its packets."""
    return bool(av.ContainerFormat(container_for(job.output).muxer, "w").flags & GLOBAL_HEADER)


@contextmanager
def writing(output: str) -> Iterator[None]:
    """Turns what goes wrong while writing into one line."""
    try:
        yield
    except VsrError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        hint = f"; free some space in {Path(output).parent.resolve()}" if error.errno == errno.ENOSPC else ""
        raise OutputError(f"{output}: can't be written ({error.strerror}){hint}") from error


def _options(job: Job, source: InputContainer | None) -> dict[str, str]:
    """Muxer options. MP4's edit lists count in the movie's time scale, so it must be a multiple of every track's."""
    container = container_for(job.output)
    options = dict(container.options)
    covers = any(track.kind == "cover" and track.action == "copy" for track in job.tracks)
    if source is not None and is_keyed(source.metadata, container.muxer, covers=covers):
        options["movflags"] = options.get("movflags", "") + "+use_metadata_tags"
    if container.exact:
        kept = [track for track in job.tracks if track.action == "copy"]
        sound: list[Any] = [source.streams[t.index] for t in kept if t.kind == "audio"] if source else []
        scales = [job.source.time_base.denominator, *(stream.sample_rate for stream in sound)]
        scales += [track.sound.rate for track in job.tracks if track.sound]
        timed = [track for track in job.tracks if track.time_base and not track.sound and not is_attached(track)]
        scales += [track.time_base.denominator for track in timed if track.action != "drop"]
        # the muxer doubles a small time scale until it is large enough
        scale = lcm(*(s * 2 ** max(0, ceil(log2(MIN_TIMESCALE / s))) for s in scales))
        options["movie_timescale"] = str(scale if scale <= MAX_TIMESCALE else scales[0])
    return options


def _video_track(job: Job, target: OutputContainer) -> VideoStream:
    """The upscaled track. Its own encoder only makes the header; chunks have encoders of the same settings."""
    encoder = job.encoder
    assert encoder is not None
    track: Any = target.add_stream(encoder.codec, rate=job.source.rate)
    configure(track.codec_context, job, global_header=global_header(job), threads=1)
    track.time_base = job.source.time_base
    if family_of(encoder.codec) == "hevc" and container_for(job.output).muxer in ("mp4", "mov"):
        track.codec_context.codec_tag = "hvc1"  # Apple's players take no "hev1", FFmpeg's default
    if has_alpha(encoder.pix_fmt) and encoder.codec.startswith("libvpx"):
        track.metadata["alpha_mode"] = "1"  # Matroska's AlphaMode; decoders look for alpha beside the picture only then
    across, down = Fraction(encoder.width, job.source.width), Fraction(encoder.height, job.source.height)
    track.set_display_matrix(moved(job.source.facts.display_matrix, across, down))
    return track  # type: ignore[no-any-return]


def _describe(job: Job, source: InputContainer, target: OutputContainer) -> None:
    """Container metadata, the picture track's metadata and disposition, chapters."""
    stream, track = source.streams[job.source.stream], target.streams[0]
    target.metadata.update(file_tags(source.metadata, container_for(job.output).muxer))
    track.metadata.update(track_tags(stream, container_for(job.output).muxer))
    if job.source.start > 0 and job.source.trimmed:
        for tags in (target.metadata, track.metadata):
            tags.pop("timecode", None)
    track.disposition = stream.disposition
    chapters = kept_chapters(source, job.source, gapless=container_for(job.output).exact)
    if chapters:
        target.set_chapters(chapters)


def _assigned(video: Iterable[Packet[Any]], track: VideoStream) -> Iterator[Packet[Any]]:
    for packet in video:
        packet.stream = track
        yield packet


def _last_held(video: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
    """The same packets; the one decoded last ends, by its decoding time and duration, where the frame shown last does.

    A track of MP4 is as long as both its edit list and its decoding times say. The first ends with the latest pts +
    duration, and the decoding times have to reach as far: they may end too early where the frame shown last isn't
    decoded last. No farther, because readers take the average rate from them.
    """
    held: Packet[Any] | None = None
    lead, end = 0, 0
    for packet in video:
        if held is not None:
            yield held
        else:
            lead = (packet.pts or 0) - (packet.dts or 0)
        held, end = packet, max(end, (packet.pts or 0) + (packet.duration or 0))
    if held is not None and held.pts is not None:
        if (held.dts or 0) + (held.duration or 0) + lead != end:
            held.dts = max(held.dts or 0, held.pts - lead)
            if held.pts + (held.duration or 0) != end:
                held.duration = max(1, end - lead - held.dts)
        yield held


def _when(packet: Packet[Any]) -> float:
    time = packet.dts if packet.dts is not None else packet.pts
    return float((time or 0) * packet.time_base)
