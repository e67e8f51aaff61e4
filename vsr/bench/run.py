"""A whole benchmark: clips, cases in rounds, quality, the machine's sheet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from uuid import uuid4

from vsr import __version__
from vsr.bench import alone, clip, quality
from vsr.bench.builds import Build, process
from vsr.bench.machine import machine
from vsr.bench.result import SIZES, Case, Result
from vsr.bench.rounds import Plan, measure
from vsr.errors import InputError
from vsr.settings import Backend, Precision


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All combinations are measured."""

    networks: Sequence[str]
    sizes: Sequence[str]
    precisions: Sequence[Precision]
    threads: Sequence[int]
    backends: Sequence[Backend]
    sinks: Sequence[str]
    scale: int = 2

    def cases(self) -> list[Case]:
        axes = product(self.networks, self.sizes, self.precisions, self.threads, self.backends, self.sinks)
        return [
            Case(network=n, size=s, precision=p, threads=t, backend=b, sink=k, scale=self.scale)
            for n, s, p, t, b, k in dict.fromkeys(axes)
        ]


def bench(
    matrix: Matrix,
    *,
    frames: int,
    rounds: int,
    source: str | None = None,
    judged: bool = True,
    against: Build | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Result, Result | None]:
    """Measures this build; and another one, where `against` says which, in turn with it.

    Args:
        frames: of the clip, at most.
        source: the user's clip instead of the drawn scene.
        judged: measure PSNR and SSIM too, of this build.

    Raises:
        VsrError: a clip that can't be read, or a run that failed for another reason than that its case can't be had.
    """
    name, builds = Path(source).name if source else "drawn scene", [Build()]
    results = [Result(vsr=__version__, machine=machine(), clip=name)]
    if against:
        version, sheet = against.sheet()
        results.append(Result(vsr=version, machine=sheet, clip=name))
        builds.append(against)
        results[0].together = results[1].together = str(uuid4())
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clips = {size: Path(folder) / f"{size}.mp4" for size in matrix.sizes}
        for size, path in clips.items():
            say(f"clip: {size}")
            if clip.write(path, pixels(size), frames, source) < 2:
                raise InputError(f"{source}: one frame only; there is nothing to time")
        measured, absent = measure(Plan(matrix.cases(), clips, rounds, Path(folder)), partial(process, builds), say)
        for number, result in enumerate(results):
            result.measured, result.absent = [case[number] for case in measured], absent
        alone.measure(results[0].measured, clips, say)
        if judged:
            quality.judge(results[0].measured, source or str(next(iter(clips.values()))), say)
    return results[0], results[1] if against else None


def pixels(size: str) -> tuple[int, int]:
    """Width and height of a name of `SIZES` or of "WIDTHxHEIGHT"."""
    width, _, height = size.partition("x")
    return SIZES[size] if size in SIZES else (int(width), int(height))
