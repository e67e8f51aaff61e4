"""What a file says of itself and carries beside its tracks: titles, chapters, attachments, length."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vsr.carry import kept_chapters
from vsr.demux import open_input
from vsr.job import Job
from vsr.report import counted
from vsr.tracks import container_for

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

TITLES = ("title", "artist", "album", "comment", "copyright")  # what every container but TS has a place for
CHAPTER_TICK = Fraction(1, 1000)  # what containers round the times of chapters to
LISTED = 2  # things wrong with chapters that are named


def check_description(job: Job, written: InputContainer, shift: Fraction, wrong: list[str]) -> list[str]:
    """Compares titles, chapters and attachments with the source's; says which there were."""
    muxer = container_for(job.output).muxer
    if job.source.path == "-" or muxer == "mpegts":  # has a place for none of these
        return []
    with open_input(job.source.path, job.source.limits) as original:
        chapters = kept_chapters(original, job.source, gapless=container_for(job.output).exact)
        named = _check_titles(original, written, wrong)
        _check_chapters(chapters, written, shift, wrong)
        attached = _check_attachments(job, original, written, wrong)
    counts = {"title": named, "chapter": len(chapters), "attachment": attached}
    return [counted(count, what) for what, count in counts.items() if count]


def _check_titles(original: InputContainer, written: InputContainer, wrong: list[str]) -> int:
    """How many of the usual tags were there and are still."""
    before, after = (_lowered(container.metadata) for container in (original, written))
    planned = {key: before[key] for key in TITLES if before.get(key)}
    wrong += [f"{key} is {after.get(key)!r} instead of {value!r}" for key, value in planned.items()
              if after.get(key, "") != value]  # fmt: skip
    return len(planned)


def _lowered(metadata: Any) -> dict[str, str]:
    return {key.lower(): value.strip() for key, value in metadata.items()}


def _check_chapters(planned: list[Any], written: InputContainer, shift: Fraction, wrong: list[str]) -> None:
    """Number, beginning and title of each chapter."""
    found = written.chapters()
    if len(found) != len(planned):
        wrong.append(f"{len(found)} chapters instead of {len(planned)}")
        return
    bad = []
    for number, (one, other) in enumerate(zip(planned, found, strict=True)):
        begin, begins = (chapter["start"] * (chapter["time_base"] or CHAPTER_TICK) for chapter in (one, other))
        title, titled = (chapter["metadata"].get("title", "") for chapter in (one, other))
        if min(abs(begins - begin), abs(begins - begin - shift)) > CHAPTER_TICK:  # not every muxer shifts them too
            bad.append(f"chapter {number} begins at {float(begins):.3f} s instead of {float(begin):.3f} s")
        if titled != title:
            bad.append(f"chapter {number} is {titled!r} instead of {title!r}")
    wrong += bad[:LISTED]


def _check_attachments(job: Job, original: InputContainer, written: InputContainer, wrong: list[str]) -> int:
    """Names and contents of attached files. Returns their number."""
    kept = [track for track in job.tracks if track.action == "copy" and track.kind == "attachment"]
    found = [stream for stream in written.streams if stream.type == "attachment"]
    if len(found) != len(kept):
        wrong.append(f"{len(found)} attachments instead of {len(kept)}")
        return 0
    for track, other in zip(kept, found, strict=True):
        one = original.streams[track.index]
        if _attachment(one) != _attachment(other):
            wrong.append(f"{track}: {_attachment(other)[0]!r} isn't {_attachment(one)[0]!r} with what it holds")
    return len(kept)


def _attachment(stream: Stream) -> tuple[str, bytes]:
    attachment: Any = stream
    return stream.metadata.get("filename") or f"attachment-{stream.index}", attachment.data


def check_length(job: Job, written: InputContainer, last: Fraction, wrong: list[str]) -> None:
    """The file says it is at least as long as until its last packet begins; TS says nothing."""
    if written.duration is None or container_for(job.output).muxer == "mpegts":
        return
    end = Fraction((written.start_time or 0) + written.duration, 1_000_000)
    if end < last - CHAPTER_TICK:
        wrong.append(f"the file ends at {float(end):.3f} s, before its last packet at {float(last):.3f} s")
