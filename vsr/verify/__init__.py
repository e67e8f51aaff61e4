"""Reads a finished file back and compares it with its source and its job. Knows nothing of the run that wrote it.

The rule for times: equal exactly where the output's time base can hold them (MP4, MOV), else to half a tick, after one
shift by whole ticks common to all tracks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Any

from vsr.demux import open_input
from vsr.errors import InputError, VerificationError
from vsr.job import Job
from vsr.report import LeftOut, counted
from vsr.settings import Verification
from vsr.signature import Signatures
from vsr.verify.copies import check_copies
from vsr.verify.damage import is_damaged
from vsr.verify.decoding import check_decoding, check_sound_decodes
from vsr.verify.description import check_description, check_length
from vsr.verify.opacity import check_opacity
from vsr.verify.picture import check_picture
from vsr.verify.recording import record
from vsr.verify.shown import check_shown
from vsr.verify.sidedata import check_side_data
from vsr.verify.times import check_end, check_times

if TYPE_CHECKING:
    from av.container import InputContainer


def verify(
    output: str,
    job: Job,
    left_out: Set[LeftOut] = frozenset(),
    *,
    mode: Verification = "sample",
    upscaled: int = 0,
    encoded: Signatures | None = None,
    damaged: bool = False,
    spoilt: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Compares the file `output` with the job's source as the job planned it.

    Args:
        left_out: packets of the source that couldn't be stored and were counted as damage.
        mode: how much is decoded; "none" reads nothing and finds nothing.
        upscaled: frames of the run, for a source that can't be read again (standard input).
        encoded: what the frames showed that were encoded; None: only whether they can be decoded is looked at.
        damaged: the run met damage in the source.
        spoilt: takes a line for every kept track that differs because the source is damaged; that is no failure.

    Returns:
        What was found right, one line each.

    Raises:
        VerificationError: all differences, in one line.
    """
    if mode == "none":
        return []
    wrong: list[str] = []
    with _opened(output, job) as written:
        found = record(written, [stream.index for stream in written.streams if stream.type != "attachment"], unread=0)
        track: Any = written.streams[0]
        found[0].ticks = array("q", sorted(found[0].ticks))
        shift = check_times(job, found[0], upscaled, wrong)
        check_picture(job, output, wrong)
        said = check_side_data(job, output, shift, wrong)
        copies, amiss = check_copies(job, output, written, found, shift, left_out, wrong)
        check_opacity(job, output, wrong)
        check_end(job, track, found[0].last - shift if found[0] else None, wrong)
        told = check_description(job, written, shift, wrong)
        # FFmpeg's length of a file leaves out text that goes on alone
        played = [one.last for index, one in found.items() if written.streams[index].type in ("video", "audio")]
        check_length(job, written, max(played), wrong)
    decoded = check_decoding(output, job.output_limits, found[0], mode, wrong)
    right = check_shown(decoded.shown, encoded, found[0], wrong) if encoded else False
    sound = check_sound_decodes(output, job, wrong) if mode == "full" else ""
    for kept, problem in amiss:
        if damaged or is_damaged(job.source.path, kept.index, job.source.limits):
            spoilt(f"{kept}: {problem}")
        else:
            wrong.append(f"{kept}: {problem}")
    if wrong:
        raise VerificationError(f"{job.output} was not written; read back, it was wrong: " + "; ".join(wrong))
    frames = f"{counted(len(found[0]), 'frame')}, every pts"
    pictures = f"{decoded.frames} of {len(found[0])} frames decoded{' and seen to be right' if right else ''}"
    facts = f"{job.size[0]}x{job.size[1]}, aspect, colour tags, rotation{', alpha' * job.source.format.alpha}"
    return [frames, facts, *said, *copies, *told, *filter(None, [pictures, sound])]


def _opened(output: str, job: Job) -> InputContainer:
    try:
        return open_input(output, job.output_limits)
    except InputError as error:
        raise VerificationError(
            f"{job.output} was not written; {str(error).replace(output, 'read back, the file')}"
        ) from error
