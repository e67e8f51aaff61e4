"""VMAF and VMAF-NEG of pairs of frames, by an `ffmpeg` program that has libvmaf."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np

from vsr.frame import PlanarFormat, Plane

MODELS = {"vmaf": "vmaf_v0.6.1", "vmaf_neg": "vmaf_v0.6.1neg"}  # column to the version that libvmaf has inside
DEPTHS = (8, 10)  # that every libvmaf filter takes
LOG, ERRORS = "scores.json", "errors.txt"


def find() -> str | None:
    """The `ffmpeg` on the PATH, where it has the filter libvmaf."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    shown = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
    return program if " libvmaf " in shown.stdout else None


class Vmaf:
    """Scores luma pairs of one size and depth, in the order they are given; to be left as a context manager.

    Both planes of a pair go in one picture, the result above the reference, so that nothing can pair them otherwise.
    It is 4:4:4 without colour: its halves may have odd sides, and VMAF looks at luma only.

    Args:
        program: an ffmpeg; None: there is none.

    Attributes:
        missing: why there are no scores, or "".
    """

    def __init__(self, program: str | None) -> None:
        self.missing = "" if program else "no ffmpeg that has libvmaf"
        self._program = program or ""
        self._folder = TemporaryDirectory(prefix="vsr_vmaf")
        self._process: subprocess.Popen[bytes] | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def add(self, reference: Plane, result: Plane, depth: int) -> None:
        """One pair; when the program fails, `missing` says so and the rest is passed over."""
        if depth not in DEPTHS:
            self.missing = self.missing or f"it takes {' and '.join(map(str, DEPTHS))} bits, not {depth}"
        self._shape = self._shape or reference.shape
        if reference.shape != self._shape:
            self.missing = self.missing or "the size changes on the way"
        if self.missing:
            return
        both = np.vstack([result, reference])
        self._process = self._process or self._started(both.shape, depth)
        assert self._process.stdin is not None
        neutral = np.full_like(both, 1 << (depth - 1))
        try:
            for plane in (both, neutral, neutral):
                self._process.stdin.write(plane.data)
        except BrokenPipeError:
            self._fail()

    def scores(self) -> dict[str, list[float]]:
        """By column, a value for every pair; empty where there are none, and `missing` then says why."""
        if self._process is None or self.missing:
            return {}
        self._process.communicate()
        log = Path(self._folder.name) / LOG
        if self._process.returncode or not log.exists():
            self._fail()
            return {}
        frames = json.loads(log.read_text())["frames"]
        return {name: [float(frame["metrics"][name]) for frame in frames] for name in MODELS}

    def _started(self, shape: tuple[int, ...], depth: int) -> subprocess.Popen[bytes]:
        models = "|".join(rf"version={version}\\:name={name}" for name, version in MODELS.items())
        graph = (
            "split[a][b];[a]crop=iw:ih/2:0:0[result];[b]crop=iw:ih/2:0:ih/2[reference];[result][reference]"
            f"libvmaf=model={models}:n_threads={len(os.sched_getaffinity(0))}:log_fmt=json:log_path={LOG}"
        )
        layout = PlanarFormat(chroma="444", depth=depth).pix_fmt
        given = ["-f", "rawvideo", "-pix_fmt", layout, "-s", f"{shape[1]}x{shape[0]}", "-i", "-"]
        with (Path(self._folder.name) / ERRORS).open("wb") as errors:
            return subprocess.Popen(
                [self._program, "-v", "error", *given, "-lavfi", graph, "-f", "null", "-"],
                cwd=self._folder.name,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def _fail(self) -> None:
        said = " ".join((Path(self._folder.name) / ERRORS).read_text(errors="replace").split())[:200]
        self.missing = f"{self._program} failed ({said or 'without saying why'})"
