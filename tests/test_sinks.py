"""null counts, md5 tells pictures and times apart, raw writes y4m; all release what they take."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from vsr import sinks
from vsr.errors import OutputError
from vsr.frame import Frame, FramePool, PlanarFormat, TrackFacts
from vsr.report import Report


class Source:
    """Frames from a pool that knows what is out."""

    def __init__(self, format: PlanarFormat | None = None, size: tuple[int, int] = (6, 4)) -> None:
        self.format, self.size = format or PlanarFormat(), size
        self.pool = FramePool(self.format, *size)

    def frames(self, durations: list[int], *, start: int = 0, seed: int = 0, nudge: int = 0) -> Iterator[Frame]:
        pts = start
        for index, duration in enumerate(durations):
            planes, lease = self.pool.take()
            random = np.random.default_rng([seed, index])
            for plane in planes:
                plane[...] = random.integers(0, self.format.white, plane.shape)
            planes[-1][-1, -1] += nudge * (index == 1)
            yield Frame(
                format=self.format, width=self.size[0], height=self.size[1], planes=planes, pts=pts,
                duration=duration, time_base=Fraction(1, 1000), index=index, lease=lease,
            )  # fmt: skip
            pts += duration


def digest(source: Source | None = None, **options: Any) -> str:
    source, report = source or Source(), Report()
    sinks.md5(source.frames(**{"durations": [40, 40, 40]} | options), report)
    source.pool.close()
    return report.digest


def test_null_counts_and_releases() -> None:
    source, report = Source(), Report()
    sinks.null(source.frames([40, 60, 100]), report)
    source.pool.close()
    assert (report.frames_written, report.digest) == (3, "")
    assert report.media_seconds == pytest.approx(0.2)


def test_md5_is_of_samples_times_and_format() -> None:
    assert digest() == digest()
    assert len(digest()) == 32
    others = [
        digest(seed=1),
        digest(nudge=1),
        digest(start=1),
        digest(durations=[40, 41, 39]),
        digest(durations=[40, 40]),
        digest(Source(size=(4, 6))),
        digest(Source(PlanarFormat(chroma="422"))),
        digest(),
    ]
    assert len(set(others)) == len(others)


class FakeJob:
    """What `raw` reads of a job."""

    def __init__(self, nominal: int) -> None:
        self.source = self
        self.rate, self.nominal, self.size, self.upscaled = Fraction(25), nominal, (6, 4), (6, 4)
        self.width, self.height, self.facts = 6, 4, TrackFacts()


@pytest.mark.parametrize(("durations", "notes"), [([40, 40, 41], 0), ([40, 80, 40, 10], 1)])
def test_raw_says_once_when_the_rate_varies(durations: list[int], notes: int) -> None:
    source, report, pipe, job = Source(), Report(), io.BytesIO(), FakeJob(40)
    sinks.raw(job, source.frames(durations), pipe, report)  # type: ignore[arg-type]
    source.pool.close()
    assert pipe.getvalue().count(b"FRAME\n") == len(durations)
    assert pipe.getvalue().startswith(b"YUV4MPEG2 W6 H4 F25:1 ")
    assert len(report.notes) == notes
    assert report.frames_written == len(durations)


def test_raw_names_a_reader_that_went_away() -> None:
    class Broken(io.RawIOBase):
        def write(self, data: object) -> int:
            raise BrokenPipeError

    job: Any = FakeJob(40)
    with pytest.raises(OutputError, match="the program reading the pipe has ended"):
        sinks.raw(job, Source().frames([40]), Broken(), Report())  # type: ignore[arg-type]
