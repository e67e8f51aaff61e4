"""The other tracks: there, in order, saying of themselves what they said; copies packet by packet."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Set
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vsr.carry import Range, attached, is_attached
from vsr.demux import is_cover, open_input
from vsr.job import Job
from vsr.report import LeftOut, counted
from vsr.tracks import Track, container_for
from vsr.verify.recording import Place, Recording, record
from vsr.verify.sound import check_sound, planned_sound, written_sound
from vsr.verify.subtitles import check_subtitles, planned_cues, written_cues
from vsr.verify.tags import check_tags

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream


def check_copies(
    job: Job,
    output: str,
    written: InputContainer,
    found: dict[int, Recording],
    shift: Fraction,
    left_out: Set[LeftOut],
    wrong: list[str],
) -> tuple[list[str], list[tuple[Track, str]]]:
    """Everything but the picture track's own packets; `wrong` gets what differs.

    Returns:
        What was found right; tracks whose content differs, and how, which may be the source's own damage.
    """
    if job.source.path == "-":
        return [], []
    with open_input(job.source.path, job.source.limits) as original:
        wrong += _check_covers(job, original, written)
        kept = [track for track in job.tracks if track.action != "drop" and not is_attached(track)]
        copied = [track.index for track in kept if track.action == "copy"]
        check = TrackCheck(job, output, record(original, copied, _planned(job, left_out)), shift)
        tracks = _matched(kept, written, check)
        if tracks is None:
            wrong.append(f"{len(_timed(job, written))} tracks instead of {1 + len(kept)}")
            return [], []
        muxer = container_for(job.output).muxer
        wrong += check_tags("picture track", original.streams[job.source.stream], written.streams[0], muxer)
        right, amiss = list[str](), list[tuple[Track, str]]()
        for track, stream in tracks:
            wrong += check_tags(str(track), original.streams[track.index], stream, muxer)
            problem, checked = check(track, stream, found.get(stream.index))
            if problem:
                amiss.append((track, problem))
            else:
                right.append(f"{track}: {checked}")
    return right, amiss


def _timed(job: Job, written: InputContainer) -> list[Stream]:
    """Tracks of the output that have packets in time: not those that MP4 makes of chapters and timecode."""
    made = ("attachment", "data") if container_for(job.output).exact else ("attachment",)
    return [stream for stream in written.streams if stream.type not in made and not is_cover(stream)]


def _matched(kept: list[Track], written: InputContainer, check: TrackCheck) -> list[tuple[Track, Stream]] | None:
    """The kept tracks and what became of each; MP4 has no tracks without packets."""
    streams = _timed(check.job, written)[1:]
    found: list[tuple[Track, Stream]] = []
    missing = Counter(track.kind for track in kept) - Counter(stream.type for stream in streams)
    for track in kept:
        if missing[track.kind] and check.is_empty(track):
            missing[track.kind] -= 1
        elif len(found) < len(streams):
            found.append((track, streams[len(found)]))
    return found if not any(missing.values()) and len(found) == len(streams) else None


class TrackCheck:
    """Compares single tracks with what was planned for them."""

    def __init__(self, job: Job, output: str, planned: dict[int, Recording], shift: Fraction) -> None:
        self.job, self._output, self._planned, self._shift = job, output, planned, shift
        self._sounds = {t.index: planned_sound(t.index, job.source, t.sound.pause) for t in job.tracks if t.sound}
        self._cues = {track.index: planned_cues(track.index, job.source) for track in job.tracks if track.text}

    def is_empty(self, track: Track) -> bool:
        """Whether nothing of the track was to be written."""
        if track.sound or track.text:
            return not (self._sounds if track.sound else self._cues)[track.index]
        return not self._planned[track.index]

    def __call__(self, track: Track, stream: Stream, found: Recording | None) -> tuple[str, str]:
        """What is wrong, or ""; what was checked."""
        tick, limits = stream.time_base or Fraction(1), self.job.output_limits
        if track.sound:
            heard = written_sound(self._output, stream.index, limits, track.sound)
            problem = check_sound(track.sound, self._sounds[track.index], heard, tick, self._shift)
            return problem, f"to {track.sound}, heard when it was"
        if track.text:
            cues = written_cues(self._output, stream.index, limits)
            problem = check_subtitles(self._cues[track.index], cues, max(tick, track.time_base), self._shift)
            return problem, f"to {track.text}, {counted(len(cues), 'cue')} in time"
        copy = found or Recording(tick)
        problem = _check_copy(track, self._planned[track.index], copy, self._shift)
        return problem, f"{counted(len(copy), 'packet')} bit for bit, in time"


def _check_covers(job: Job, original: InputContainer, written: InputContainer) -> list[str]:
    """Cover art: every picture there, byte for byte."""
    there = Counter(zlib.crc32(attached(stream)) for stream in written.streams if is_cover(stream))
    wrong = []
    for track in job.tracks:
        if track.action == "copy" and track.kind == "cover":
            content = zlib.crc32(attached(original.streams[track.index]))
            wrong += [] if there[content] else [f"{track} is missing or changed"]
            there[content] -= 1
    return wrong


def _planned(job: Job, left_out: Set[LeftOut]) -> Place:
    """Which packets of the source could be stored, and when they are to be presented."""
    range = Range(job.source, hidden=container_for(job.output).exact)

    def place(packet: Packet[Any], number: int) -> Fraction | None:
        time = range.place(packet)
        stored = time is not None and (packet.stream.index, number) not in left_out
        return time - job.source.origin if time is not None and stored else None

    return place


def _check_copy(track: Track, planned: Recording, copy: Recording, shift: Fraction) -> str:
    if len(planned) != len(copy):
        return f"{len(copy)} packets instead of {len(planned)}"
    if planned.payloads != copy.payloads:
        return "packets differ in content"
    off, tolerance = copy.off(planned, shift)[0], copy.rounding(planned)
    return "" if off <= tolerance else f"up to {float(off) * 1000:.3f} ms out of time"
