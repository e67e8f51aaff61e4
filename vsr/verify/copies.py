"""Tracks copied from the source: there, in order, packet by packet the same, in time."""

from __future__ import annotations

from collections.abc import Set
from fractions import Fraction
from typing import TYPE_CHECKING

from vsr.demux import open_input
from vsr.job import Job
from vsr.report import LeftOut
from vsr.tracks import Track, container_for, kept_chapters, stored_language
from vsr.verify.recording import Recording, record

if TYPE_CHECKING:
    from av.container import InputContainer


def check_copies(
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
    with open_input(source, job.source.limits) as original:
        menu = bool(container_for(job.output).exact and kept_chapters(original, job.source))  # MP4's are a text track
        whole = record(original, [track.index for track in copies if track.kind != "attachment"])
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
