"""vsr itself: what `vsr-run clip.mp4 --sink null` does, with the weights for clean pictures that the others get too."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import cast

from benchmarks.peers.peer import Clip, Luma, Ran, Stopwatch
from vsr.bench.once import peak, settings
from vsr.bench.result import Case
from vsr.errors import Interrupted
from vsr.models import Exact, ModelChoice, resolve
from vsr.pipeline import run, upscaling
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import EngineSettings, Precision, RunSettings


@dataclass(frozen=True)
class Ours:
    """A network that ships, at the precision vsr chooses unless told."""

    network: str
    precision: Precision = "auto"

    @property
    def name(self) -> str:
        return f"vsr {self.network}" + (f" {self.precision}" if self.precision != "auto" else "")

    def timed(self, clip: Clip, watch: Stopwatch) -> Ran:
        wanted, engine = self._settings(clip), ""

        def seen(report: Report) -> None:
            nonlocal engine
            engine = report.engine
            watch.seen(report.frames_upscaled)

        with suppress(Interrupted):
            run(probe(wanted), wanted, seen, stop=lambda: signal.SIGINT if watch.expired else 0)
        return Ran(engine=engine.removeprefix(f"{self.network} "), peak_mib=peak())

    def lumas(self, clip: Clip, count: int) -> list[Luma]:
        wanted, result = self._settings(clip), []
        with upscaling(probe(wanted), wanted.engine, Report()) as frames:
            for frame in islice(frames, count):
                result.append(cast(Luma, frame.planes[0].copy()))
                frame.release()
        return result

    def _settings(self, clip: Clip) -> RunSettings:
        case = Case(network=self.network, precision=self.precision, scale=clip.scale, backend="openvino")
        return settings(case, clip.path, "")


def shipped(network: str, scale: int, precision: Exact = "float32") -> ModelChoice:
    """The file of a network that ships, for the others to run. Raises UsageError where there is none."""
    wanted = EngineSettings(scale=scale, network=network, weights="clean", precision=precision, backend="openvino")
    return resolve(wanted, 8)
