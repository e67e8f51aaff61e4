"""A job survives JSON, and its hash changes with all that shapes the result and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vsr.chunks import Chunk
from vsr.frame import Colour, PlanarFormat, TrackFacts
from vsr.job import Encoder, Job, Network, Source, identity
from vsr.tracks import Track

UNSEEN = {("output",), ("notes",), ("source", "path"), ("network", "path")}
UNSEEN |= {("source", "limits", "max_pixels"), ("source", "limits", "timeout")}  # paths and remarks shape no content
UNSEEN |= {("source", "resident")}
JOB = Job(
    version="1",
    source=Source(
        path="in.mkv", bytes=1000, modified_ns=1_700_000_000_000_000_007, stream=1, width=47, height=33,
        format=PlanarFormat(chroma="422", depth=10), pix_fmt="yuv422p10le", codec="h264",
        facts=TrackFacts(
            colour=Colour(range=1, primaries=9, transfer=16, matrix=9, chroma_location="topleft"),
            aspect=Fraction(64, 45),
            display_matrix=(0, 65536, 0, -65536, 0, 0, 3080192, 0, 1073741824),
            mastering=(8500, 39850, 6550, 2300, 35400, 14600, 15635, 16450, 10_000_000, 50),
            light=(1000, 400),
            ambient=(3_140_000, 15635, 16450),
            stereo=(3, 1),
        ),
        time_base=Fraction(1001, 30000), rate=Fraction(30000, 1001), untimed=False, nominal=1, frames=90,
        start=-2, end=88, trimmed=True, origin=Fraction(-1001, 15000), last_end=89, first_number=7,
        side_data=("A53_CC",),
    ),
    network=Network(
        name="m4c8", path="m.onnx", scale=2, weights="clean", precision="auto", backend="auto", sha256="ab" * 32
    ),
    output="out.mp4",
    sink="",
    encoder=Encoder(
        codec="libx264", pix_fmt="yuv422p10le", width=94, height=66, aspect=Fraction(64, 45),
        options={"crf": "18", "preset": "veryfast"}, threads=3, side_data=("A53_CC",),
    ),
    tracks=(
        Track(index=0, kind="audio", codec="aac", action="copy", language="deu", time_base=Fraction(1, 44100)),
        Track(index=2, kind="data", codec="", action="drop", why="is data"),
    ),
    chunks=(Chunk(index=0, start=-2, end=40), Chunk(index=1, start=40, end=None)),
    notes=("a note",), fit=(94, 66),
)  # fmt: skip


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every field that is no dataclass itself."""
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner):
            yield from leaves(inner, (*path, field.name))
        else:
            yield (*path, field.name)


def changed(value: Any, path: tuple[str, ...]) -> Any:
    """A copy with another value at `path`."""
    name, *rest = path
    old = getattr(value, name)
    return replace(value, **{name: changed(old, tuple(rest)) if rest else other(old)})


def other(old: Any) -> Any:
    match old:
        case bool():
            return not old
        case int() | float() | Fraction():
            return old + 1
        case str():
            return {"422": "444", "topleft": "left"}.get(old, f"{old}x")
        case dict():
            return {**old, "crf": "19"}
        case [*_]:
            return (*old[:-1], changed(old[-1], ("index",)) if is_dataclass(old[-1]) else other(old[-1]))
    raise TypeError(old)


@pytest.mark.parametrize(
    "job",
    [
        JOB,
        replace(JOB, encoder=None, sink="md5", output="", tracks=(), notes=()),
        replace(JOB, source=replace(JOB.source, facts=TrackFacts(), frames=None, end=None, last_end=None)),
    ],
    ids=["file", "sink", "bare"],
)
def test_json_there_and_back(job: Job) -> None:
    again = Job.from_json(job.to_json())
    assert again == job
    assert again.hash() == job.hash()
    assert isinstance(again.source.time_base, Fraction)
    assert isinstance(again.chunks[0], Chunk)


@pytest.mark.parametrize("path", list(leaves(JOB)), ids=".".join)
def test_what_changes_the_hash(path: tuple[str, ...]) -> None:
    one = changed(JOB, path)
    assert one != JOB
    assert (one.hash() == JOB.hash()) == (path in UNSEEN)
    assert Job.from_json(one.to_json()) == one


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", "7", '{"version": "1"}'])
def test_anything_else_is_no_job(text: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        Job.from_json(text)


def test_a_job_with_a_field_missing_deep_inside() -> None:
    content = json.loads(JOB.to_json())
    del content["source"]["facts"]["colour"]["matrix"]
    with pytest.raises(KeyError, match="matrix"):
        Job.from_json(json.dumps(content))


def test_sizes() -> None:
    assert JOB.upscaled == (94, 66)
    assert JOB.size == (94, 66)
    assert replace(JOB, encoder=replace(JOB.encoder, width=90)).size == (90, 66)  # type: ignore[type-var]
    assert replace(JOB, encoder=None).size == (94, 66)


def test_identity_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    before = identity(str(file))
    file.write_bytes(b"four")
    assert before[0] == 3
    assert identity(str(file)) != before
    assert identity("-") == (0, 0)
