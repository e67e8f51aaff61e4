"""A whole benchmark: clips, cases in rounds, quality, the machine's sheet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from vsr import __version__
from vsr.bench import alone, clip, quality
from vsr.bench.machine import machine
from vsr.bench.result import SIZES, Case, Result
from vsr.bench.rounds import Plan, Run, measure, process
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
    run: Run = process,
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """Measures.

    Args:
        frames: of the clip, at most.
        source: the user's clip instead of the drawn scene.
        judged: measure PSNR and SSIM too.
        run: what does one case once.
        say: gets what is being done.

    Raises:
        VsrError: a clip that can't be read, or a run that failed for another reason than that its case can't be had.
    """
    result = Result(vsr=__version__, machine=machine(), clip=Path(source).name if source else "drawn scene")
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clips = {size: Path(folder) / f"{size}.mp4" for size in matrix.sizes}
        for size, path in clips.items():
            say(f"clip: {size}")
            if clip.write(path, pixels(size), frames, source) < 2:
                raise InputError(f"{source}: one frame only; there is nothing to time")
        plan = Plan(matrix.cases(), clips, rounds, Path(folder))
        result.measured, result.absent = measure(plan, run, say)
        alone.measure(result.measured, clips, say)
        if judged:
            quality.judge(result.measured, source or str(next(iter(clips.values()))), say)
    return result


def pixels(size: str) -> tuple[int, int]:
    """Width and height of a name of `SIZES` or of "WIDTHxHEIGHT"."""
    width, _, height = size.partition("x")
    return SIZES[size] if size in SIZES else (int(width), int(height))
