"""Reads a finished file back and compares it with its source and its job. Knows nothing of the run that wrote it.

The rule for times: equal exactly where the output's time base can hold them (MP4, MOV), else to half a tick, after one
shift by whole ticks common to all tracks.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vsr.colour import read_facts, turn
from vsr.decode import Timeline, pictures
from vsr.demux import open_input, packets
from vsr.encode import keeps_location, stored_location
from vsr.errors import VerificationError
from vsr.frame import ChromaLocation
from vsr.job import Encoder, Job
from vsr.report import LeftOut, Report
from vsr.tracks import ADTS_HEADER, Track, container_for, has_adts, kept_chapters, stored_language

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

LIMITED = 1  # AVCOL_RANGE; what YUV is when nobody says, and what some codecs can only say by saying nothing


@dataclass
class Recording:
    """One track's packets: times in seconds, checksums of what they carry."""

    tick: Fraction
    times: list[Fraction] = field(default_factory=list)
    payloads: list[frozenset[int]] = field(default_factory=list)


def verify(source: str, output: str, job: Job, left_out: Set[LeftOut] = frozenset()) -> list[str]:
    """Compares the file `output` with the file `source` as `job` planned it, but for packets that were left out.

    Returns:
        What was found right, one line each.

    Raises:
        VerificationError: all differences, in one line.
    """
    wrong: list[str] = []
    with open_input(output) as written:
        found = _record(written, [stream.index for stream in written.streams if stream.type != "attachment"])
        track: Any = written.streams[0]
        shift = _check_times(job, source, found[0], wrong)
        _check_picture(job, output, wrong)
        copies = _check_copies(job, source, written, found, shift, left_out, wrong)
        _check_end(job, track, found[0].times[-1] - shift if found[0].times else None, wrong)
    if wrong:
        raise VerificationError(f"{job.output} was not written; read back, it was wrong: " + "; ".join(wrong))
    frames = f"{len(found[0].times)} frames, every pts"
    return [frames, f"{job.size[0]}x{job.size[1]}, aspect, colour tags, rotation", *copies]


def _record(container: InputContainer, indexes: Sequence[int]) -> dict[int, Recording]:
    """Every packet of some tracks: times of presentation (rising) and, but for the first track, checksums."""
    found = {index: Recording(container.streams[index].time_base or Fraction(1)) for index in indexes}
    if not found:
        return found
    for packet in packets(container, [container.streams[index] for index in indexes], Report()):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.is_discard and packet.stream.type == "video":
            continue
        recording = found[packet.stream.index]
        recording.times.append(time * packet.time_base)
        if packet.stream.type != "video":
            recording.payloads.append(_checksums(bytes(packet)))
    for recording in found.values():
        if not recording.payloads:
            recording.times.sort()
    return found


def _checksums(payload: bytes) -> frozenset[int]:
    """Checksum of a payload; for AAC with its transport header, which MP4 doesn't store, also of what follows it."""
    sums = {zlib.crc32(payload)}
    if has_adts(payload):
        sums |= {zlib.crc32(payload[header:]) for header in (ADTS_HEADER, ADTS_HEADER + 2)}
    return frozenset(sums)


def _check_times(job: Job, source: str, found: Recording, wrong: list[str]) -> Fraction:
    """Frame count and every pts; the common shift."""
    expected = expected_times(job, source, decode=False)
    problem, shift = _compare(expected, found.times, job.source.time_base, found.tick)
    if problem and source != "-":  # packets aren't frames where the source is damaged or hides some: ask the decoder
        expected = expected_times(job, source, decode=True)
        problem, shift = _compare(expected, found.times, job.source.time_base, found.tick)
    if problem:
        wrong.append(f"picture track: {problem}")
    if shift and container_for(job.output).exact:
        wrong.append(f"all tracks start {float(shift):+.6f} s off")
    return shift


def expected_times(job: Job, source: str, *, decode: bool) -> list[Fraction]:
    """When each frame of the job is to be shown, in seconds from its origin: by its packets, or by decoding them."""
    base, begin, end = job.source.time_base, job.source.start, job.source.end
    if source == "-":
        return []
    with open_input(source) as container:
        stream: Any = container.streams[job.source.stream]
        coded = packets(container, [stream], Report())
        ticks: list[int]
        if decode or job.source.untimed:
            stream.thread_type = "AUTO"  # as in the run: how many frames a damaged stream gives depends on it
            timeline = Timeline(base, job.source.rate if job.source.untimed else None, job.source.nominal)
            shown = pictures(stream, coded, Report())
            ticks = [timeline.stamp(picture.pts, picture.dts, picture.duration)[0] for picture in shown]
        else:
            ticks = sorted(packet.pts for packet in coded if packet.pts is not None and not packet.is_discard)
    return [tick * base - job.source.origin for tick in ticks if tick >= begin and (end is None or tick < end)]


def _compare(
    expected: Sequence[Fraction], found: Sequence[Fraction], base: Fraction, tick: Fraction
) -> tuple[str, Fraction]:
    """(what differs, or ""; shift): times equal after a shift of whole ticks, exactly where `tick` divides `base`."""
    if not expected:
        return "", Fraction(0)
    if len(expected) != len(found):
        return f"{len(found)} instead of {len(expected)}", Fraction(0)
    tolerance = Fraction(0) if (base / tick).denominator == 1 else tick / 2
    near = (found[0] - expected[0]) // tick * tick
    shifts = sorted((near, near + tick), key=lambda s: _worst(expected, found, s)[0])
    worst, index = _worst(expected, found, shifts[0])
    if worst <= tolerance:
        return "", shifts[0]
    return f"number {index} is {float(worst) * 1000:.3f} ms off", shifts[0]


def _worst(expected: Sequence[Fraction], found: Sequence[Fraction], shift: Fraction) -> tuple[Fraction, int]:
    return max((abs(b - a - shift), index) for index, (a, b) in enumerate(zip(expected, found, strict=True)))


def _check_picture(job: Job, output: str, wrong: list[str]) -> None:
    """Size, aspect, tags and rotation, as a decoder sees them in the first frame.

    The file is opened anew: where there is no index (TS), seeking back may end behind the first key frame.
    """
    encoder, container, report = job.encoder, container_for(job.output), Report()
    assert encoder is not None
    with open_input(output) as written:
        track: Any = written.streams[0]
        first = next(pictures(track, packets(written, [track], report), report), None)
        if first is None:
            wrong.append("no frame can be decoded")
            return
        facts = read_facts(track, first)
    planned, read = job.source.facts.colour, facts.colour
    location = stored_location(job.source, encoder.pix_fmt)
    if not keeps_location(location, encoder.codec, container.muxer):
        location = read.chroma_location
    pairs = {
        "size": ((encoder.width, encoder.height), (first.width, first.height)),
        "aspect": (encoder.aspect, facts.aspect),
        "pixel format": (_decoded_as(encoder), first.format.name.replace("yuvj", "yuv")),
        "range": (planned.range or LIMITED, read.range or LIMITED),
        "primaries": (planned.primaries, read.primaries),
        "transfer": (planned.transfer, read.transfer),
        "matrix": (read.matrix if encoder.pix_fmt.startswith("gray") else planned.matrix, read.matrix),
        "chroma location": (_sited(location), _sited(read.chroma_location)),
        "rotation": (turn(job.source.facts.display_matrix) if container.rotation else None, turn(facts.display_matrix)),
    }
    wrong += [f"{name} is {is_} instead of {should}" for name, (should, is_) in pairs.items() if should != is_]


def _decoded_as(encoder: Encoder) -> str:
    """FFmpeg's H.264 decoder gives 8-bit grey as 4:2:0 with chroma in the middle."""
    return "yuv420p" if (encoder.codec, encoder.pix_fmt) == ("libx264", "gray") else encoder.pix_fmt


def _sited(location: ChromaLocation) -> ChromaLocation:
    return "left" if location == "unspecified" else location  # H.273 8.7


def _check_copies(
    job: Job,
    source: str,
    written: InputContainer,
    found: dict[int, Recording],
    shift: Fraction,
    left_out: Set[LeftOut],
    wrong: list[str],
) -> list[str]:
    """Every copied track: there, in order, of the same language, packets equal and in time."""
    copies = [track for track in job.tracks if track.action == "copy"]
    if not copies:
        return []
    with open_input(source) as original:
        menu = bool(container_for(job.output).exact and kept_chapters(original, job.source))  # MP4's are a text track
        whole = _record(original, [track.index for track in copies if track.kind != "attachment"])
    planned = {index: _planned(job, index, recording, left_out) for index, recording in whole.items()}
    heard = [track for track in copies if track.kind == "attachment" or planned[track.index].times]
    if len(written.streams) == 1 + len(heard) + menu:
        copies = heard  # MP4 has no tracks without packets
    elif len(written.streams) != 1 + len(copies) + menu:
        wrong.append(f"{len(written.streams) - menu} tracks instead of {1 + len(copies)}")
        return []
    checked = []
    for number, track in enumerate(copies, start=1):
        language = stored_language(track.language, container_for(job.output))
        if (written.streams[number].language or "und") != (language or "und"):
            wrong.append(f"{track}: language is {written.streams[number].language}")
        if track.kind != "attachment":
            problem = _check_copy(track, planned[track.index], found[number], shift)
            if problem:
                wrong.append(f"{track}: {problem}")
            checked.append(f"{track}: {len(found[number].times)} packets bit for bit, in time")
    return checked


def _planned(job: Job, index: int, whole: Recording, left_out: Set[LeftOut]) -> Recording:
    """What of a track in the source lies in the job's range and could be stored, at its planned times."""
    planned = Recording(whole.tick)
    for number, (time, payload) in enumerate(zip(whole.times, whole.payloads, strict=True)):
        if _in_range(job, time) and (index, number) not in left_out:
            planned.times.append(time - job.source.origin)
            planned.payloads.append(payload)
    return planned


def _check_copy(track: Track, planned: Recording, copy: Recording, shift: Fraction) -> str:
    if len(planned.times) != len(copy.times):
        return f"{len(copy.times)} packets instead of {len(planned.times)}"
    if not all(a & b for a, b in zip(planned.payloads, copy.payloads, strict=True)):
        return "packets differ in content"
    off = max((abs(b - a - shift) for a, b in zip(planned.times, copy.times, strict=True)), default=0)
    tolerance = Fraction(0) if (planned.tick / copy.tick).denominator == 1 else copy.tick / 2
    if track.codec.startswith("pcm_"):  # MP4 counts its samples, which undoes the rounding of a coarser source
        tolerance = max(tolerance, planned.tick)
    return "" if off <= tolerance else f"up to {float(off) * 1000:.3f} ms out of time"


def _in_range(job: Job, time: Fraction) -> bool:
    begin, end, base = job.source.start, job.source.end, job.source.time_base
    return not job.source.trimmed or (time >= begin * base and (end is None or time < end * base))


def _check_end(job: Job, track: VideoStream, last: Fraction | None, wrong: list[str]) -> None:
    """The track lasts as long as planned, to one tick, where the container says how long.

    Damage may have moved the `last` frame behind the planned end; then nobody knows better.
    """
    if job.source.last_end is None or track.duration is None or not container_for(job.output).exact:
        return
    base = track.time_base or Fraction(1)
    ends = (track.start_time or 0) * base + track.duration * base
    planned = job.source.last_end * job.source.time_base - job.source.origin
    if (last is None or last < planned) and abs(ends - planned) > max(base, job.source.time_base):
        wrong.append(f"the picture ends at {float(ends):.6f} s instead of {float(planned):.6f} s")
