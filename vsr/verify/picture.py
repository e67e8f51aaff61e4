"""What the picture track says of itself, as a decoder sees it: size, samples, colour, rotation."""

from __future__ import annotations

from typing import Any

from vsr import sidedata
from vsr.colour import ROUNDING, UNSPECIFIED, read_facts, turn
from vsr.convert import has_alpha
from vsr.decode import pictures
from vsr.demux import open_input, packets
from vsr.encode import keeps_location, keeps_matrix, keeps_primaries, stored_location
from vsr.encoders import decoded_as
from vsr.frame import LIMITED, ChromaLocation, TrackFacts
from vsr.job import Encoder, Job
from vsr.report import Report
from vsr.sei import family_of, kept_by_av1
from vsr.tracks import Container, container_for

Matrix = tuple[int, ...] | None


def check_picture(job: Job, output: str, wrong: list[str]) -> None:
    """Size, aspect, tags and rotation, as a decoder sees them in the first frame.

    The file is opened anew: where there is no index (TS), seeking back may end behind the first key frame.
    """
    encoder, container, report = job.encoder, container_for(job.output), Report()
    assert encoder is not None
    with open_input(output, job.output_limits) as written:
        track: Any = written.streams[0]
        first = next(pictures(track, packets(written, [track], report), report, alpha=has_alpha(encoder.pix_fmt)), None)
        if first is None:
            wrong.append("no frame can be decoded")
            return
        facts = read_facts(track, first)
    planned, read = job.source.facts.colour, facts.colour
    location = stored_location(job.source, encoder.pix_fmt)
    if not keeps_location(location, encoder.codec, container.muxer):
        location = read.chroma_location
    told = keeps_matrix(planned.matrix, encoder.codec) and not encoder.pix_fmt.startswith(("gray", "ya"))
    stated = keeps_primaries(planned.primaries, encoder.codec)
    pairs: dict[str, tuple[object, object]] = {
        "size": ((encoder.width, encoder.height), (first.width, first.height)),
        "aspect": (encoder.aspect, facts.aspect),
        "pixel format": (decoded_as(encoder.codec, encoder.pix_fmt), first.format.name.replace("yuvj", "yuv")),
        # what YUV is when nobody says, and what some codecs can only say by saying nothing
        "range": (planned.range or LIMITED, read.range or LIMITED),
        "primaries": (planned.primaries if stated else UNSPECIFIED, read.primaries),
        "transfer": (planned.transfer, read.transfer),
        "matrix": (planned.matrix if told else read.matrix, read.matrix),
        "chroma location": (_sited(location), _sited(read.chroma_location)),
        **_hdr(job.source.facts, facts, encoder),
        "rotation": _turns(job.source.facts.display_matrix, facts.display_matrix, container),
    }
    wrong += [f"{name} is {is_} instead of {should}" for name, (should, is_) in pairs.items() if should != is_]


def _hdr(planned: TrackFacts, read: TrackFacts, encoder: Encoder) -> dict[str, tuple[object, object]]:
    """Static HDR metadata that the encoder's packets were to carry; AV1 keeps it in its own units."""
    shown = planned.mastering
    if shown is not None and family_of(encoder.codec) == "av1":
        shown = kept_by_av1(shown)
    pairs = {
        sidedata.MASTERING: (shown, read.mastering),
        sidedata.LIGHT: (planned.light, read.light),
        sidedata.AMBIENT: (planned.ambient, read.ambient),
        sidedata.STEREO: (planned.stereo, read.stereo),
    }
    return {sidedata.NAMES[kind]: pair for kind, pair in pairs.items() if kind in encoder.side_data}


def _turns(planned: Matrix, read: Matrix, container: Container) -> tuple[Matrix, Matrix]:
    """(planned, read), the same where Matroska's degrees come back as the next sine."""
    should, is_ = turn(planned) if container.keeps_turn(planned) else None, turn(read)
    near = should and is_ and all(abs(a - b) <= ROUNDING for a, b in zip(should, is_, strict=True))
    return should, should if near else is_


def _sited(location: ChromaLocation) -> ChromaLocation:
    return "left" if location == "unspecified" else location  # H.273 8.7
