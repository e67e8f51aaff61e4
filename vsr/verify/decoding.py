"""Does it decode? The first, the last and every tenth group of pictures of the picture track, or every packet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vsr.decode import pictures
from vsr.demux import READ_ERRORS, open_input, packets
from vsr.job import Job
from vsr.report import Report, counted
from vsr.settings import Limits, Verification
from vsr.signature import shown_signature
from vsr.verify.recording import Recording

if TYPE_CHECKING:
    from av.packet import Packet

EVERY = 10  # GOPs
NAMED = 3  # groups that are wrong, and things wrong with each


@dataclass
class Decoded:
    """How many frames were decoded; pts and signatures of those that have one."""

    frames: int = 0
    shown: list[tuple[int, bytes]] = field(default_factory=list)


def check_decoding(output: str, limits: Limits, found: Recording, mode: Verification, wrong: list[str]) -> Decoded:
    """Decodes groups of pictures: as many frames as packets, at the same times, without errors.

    A group is what lies between two key packets in the file. Its frames shown before its key (leading pictures of an
    open group) lean on the group before, so they are decoded in mode "full" only. The file is read once more, packets
    outside the chosen groups are skipped, frames are dropped as they come: memory doesn't depend on the file's length.
    """
    chosen = range(found.keys) if mode == "full" else {*range(0, found.keys, EVERY), found.keys - 1}
    bad: list[str] = []
    decoded = Decoded()
    with open_input(output, limits) as container:
        track: Any = container.streams[0]
        track.thread_type = "AUTO"
        numbered = _numbered(packets(container, [track], Report()), set(chosen))
        for _, run in groupby(numbered, key=lambda pair: 0 if mode == "full" else pair[0]):
            problem = _decode(track, (packet for _, packet in run), decoded)
            bad += [problem] if problem else []
            track.codec_context.flush_buffers()
    wrong += bad[:NAMED] + ([f"{len(bad) - NAMED} more groups of pictures"] if len(bad) > NAMED else [])
    return decoded


def _numbered(coded: Iterable[Packet[Any]], chosen: Set[int]) -> Iterator[tuple[int, Packet[Any]]]:
    """Packets of the chosen groups, each with its group's number; what comes before the first key has none."""
    number = -1
    for packet in coded:
        number += packet.is_keyframe
        if number in chosen:
            yield number, packet


def _decode(track: Any, coded: Iterable[Packet[Any]], decoded: Decoded) -> str:
    """What is wrong, or "": packets that begin with a key give a frame each, at the same times."""
    expected: list[int] = []
    damage = Report()

    def fed() -> Iterator[Packet[Any]]:
        for packet in coded:
            pts = packet.pts or 0
            if expected and pts < expected[0]:
                continue
            if not packet.is_discard:
                expected.append(pts)
            yield packet

    got: list[int] = []
    for picture in pictures(track, fed(), damage):
        got.append(picture.pts or 0)
        shown = shown_signature(picture)
        if shown:
            decoded.shown.append((got[-1], shown))
        if picture.is_corrupt:
            damage.damaged(f"the frame at pts {picture.pts} is corrupt")
    decoded.frames += len(got)
    problems = damage.damage[:NAMED]
    if not problems and sorted(got) != sorted(expected):
        problems = [f"{len(got)} frames from {len(expected)} packets" if len(got) != len(expected) else "other times"]
    start = float(expected[0] * track.time_base) if expected else 0.0
    return f"picture from {start:.3f} s can't be decoded as written: {', '.join(problems)}" if problems else ""


def check_sound_decodes(output: str, job: Job, wrong: list[str]) -> str:
    """Decodes every sound track: no more errors than the source's sound has, of which it is mostly a copy."""
    errors = _sound_errors(output, job.output_limits)
    known = sum(_sound_errors(job.source.path, job.source.limits)) if any(errors) and job.source.path != "-" else 0
    if sum(errors) > known:
        wrong += [f"sound track {n}: {count} packets can't be decoded" for n, count in enumerate(errors) if count]
    return f"{counted(len(errors), 'sound track')} decoded" if errors else ""


def _sound_errors(path: str, limits: Limits) -> list[int]:
    """Packets that can't be decoded, for each sound track that has a decoder."""
    with open_input(path, limits) as container:
        tracks = [track for track in container.streams.audio if track.codec_context is not None]
        errors = {track.index: 0 for track in tracks}
        for packet in packets(container, list(tracks), Report()) if tracks else ():
            try:
                packet.decode()
            except READ_ERRORS:
                errors[packet.stream.index] += 1
    return list(errors.values())
