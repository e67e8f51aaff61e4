"""Tracks copied from the source: there, in order, packet by packet the same, in time."""

from __future__ import annotations

from collections.abc import Set
from fractions import Fraction
from typing import TYPE_CHECKING

from vsr.carry import Range, kept_chapters
from vsr.demux import open_input
from vsr.job import Job
from vsr.report import LeftOut
from vsr.tags import stored_language
from vsr.tracks import Track, container_for
from vsr.verify.recording import Recording, record
from vsr.verify.sound import check_sound, planned_sound, written_sound
from vsr.verify.subtitles import check_subtitles, planned_cues, written_cues

if TYPE_CHECKING:
    from av.container import InputContainer


def check_copies(
    job: Job,
    source: str,
    output: str,
    written: InputContainer,
    found: dict[int, Recording],
    shift: Fraction,
    left_out: Set[LeftOut],
    wrong: list[str],
) -> list[str]:
    """Every kept track: there, in order, of the same language; copies packet by packet, conversions as heard."""
    kept = [track for track in job.tracks if track.action != "drop"]
    if not kept:
        return []
    with open_input(source, job.source.limits) as original:
        menu = bool(container_for(job.output).exact and kept_chapters(original, job.source))  # MP4's are a text track
        copies = [track.index for track in kept if track.action == "copy" and track.kind != "attachment"]
        place = Range(job.source, hidden=container_for(job.output).exact).place
        whole = record(original, copies, place)
    planned = {index: _planned(job, index, recording, left_out) for index, recording in whole.items()}
    sounds = {track.index: planned_sound(track.index, job.source) for track in kept if track.sound}
    texts = {track.index: planned_cues(track.index, job.source) for track in kept if track.text}
    silent = {index for index, copy in planned.items() if not copy.times}
    silent |= {index for index, planned in (*sounds.items(), *texts.items()) if not planned}
    if len(written.streams) == 1 + len(kept) - len(silent) + menu:
        kept = [track for track in kept if track.index not in silent]  # MP4 has no tracks without packets
    elif len(written.streams) != 1 + len(kept) + menu:
        wrong.append(f"{len(written.streams) - menu} tracks instead of {1 + len(kept)}")
        return []
    checked = []
    for number, track in enumerate(kept, start=1):
        language = stored_language(track.language, container_for(job.output).muxer)
        if (written.streams[number].language or "und") != (language or "und"):
            wrong.append(f"{track}: language is {written.streams[number].language}")
        problem, right, tick = "", "kept", written.streams[number].time_base or Fraction(1)
        if track.sound:
            heard = written_sound(output, number, job.output_limits, track.sound)
            problem = check_sound(track.sound, sounds[track.index], heard, tick, shift)
            right = f"to {track.sound}, heard when it was"
        elif track.text:
            cues = written_cues(output, number, job.output_limits)
            problem = check_subtitles(texts[track.index], cues, max(tick, track.time_base), shift)
            right = f"to {track.text}, {len(cues)} cues in time"
        elif track.kind != "attachment":
            problem = _check_copy(track, planned[track.index], found[number], shift)
            right = f"{len(found[number].times)} packets bit for bit, in time"
        wrong += [f"{track}: {problem}"] if problem else []
        checked.append(f"{track}: {right}")
    return checked


def _planned(job: Job, index: int, whole: Recording, left_out: Set[LeftOut]) -> Recording:
    """What of a track in the source could be stored, at its planned times."""
    planned = Recording(whole.tick)
    for number, time, payload in zip(whole.numbers, whole.times, whole.payloads, strict=True):
        if (index, number) not in left_out:
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
