"""The finished part of a file: verified, then given its name."""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsr import chunkfile
from vsr.chunkfile import Encoded, sync_folder
from vsr.errors import InputError
from vsr.job import Job, unchanged
from vsr.mux import mux, writing
from vsr.report import LeftOut, Report
from vsr.resume import WorkFolder
from vsr.settings import RunSettings
from vsr.signature import Signatures
from vsr.target import check_output, partial_name
from vsr.verify import verify

PRIMING = Fraction(10)  # seconds before the first frame in which sound may begin


def publish(
    job: Job,
    part: Path,
    report: Report,
    settings: RunSettings,
    left_out: Set[LeftOut],
    signatures: Signatures,
    upscaled: int,
) -> None:
    """Verifies the finished part, which has to have so many upscaled frames, then gives it its name.

    Raises:
        InputError: the input is no longer what it was at the start. VerificationError: the part isn't as planned.
    """
    source = job.source
    if not unchanged(source):
        raise InputError(f"{source.path}: changed while it was read, nothing was written; start again once it is whole")
    with report.stage("verify"):
        report.verified = verify(
            str(part),
            job,
            left_out,
            mode=settings.verify,
            upscaled=upscaled,
            spoilt=report.damaged,
            damaged=bool(report.damaged_packets),
            encoded=signatures,
        )
    if settings.verify == "none":
        report.note("not verified (--verify none)")
    check_output(source.path, job.output, overwrite=settings.overwrite)
    with writing(job.output):
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(job.output)
        sync_folder(Path(job.output).parent)


def publish_partial(job: Job, work: WorkFolder, last: Encoded, settings: RunSettings, report: Report) -> None:
    """The finished chunks and the begun one as a file of its own, sound and all cut where the picture ends."""
    chunks = [*work.finished(before=last.index), last]
    if not any(chunk.frames for chunk in chunks):
        return
    source = job.source
    rows = next(chunk for chunk in reversed(chunks) if chunk.frames).rows()
    end = max(row.pts + row.duration for row in rows) + round(source.origin / source.time_base)
    begin = source.start if source.trimmed else source.start - round(PRIMING / source.time_base)
    cut = replace(
        source, start=begin, end=end, last_end=end, trimmed=True, frames=sum(chunk.frames for chunk in chunks)
    )
    short = replace(job, source=cut, output=partial_name(job.output))
    signatures = Signatures()
    left_out = mux(short, signatures.seen(chunkfile.read(chunks, source.time_base)), work.part, report)
    publish(short, work.part, report, settings, left_out, signatures, sum(chunk.frames for chunk in chunks))
