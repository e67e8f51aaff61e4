"""One run of the program in this process, timed: what vsr-bench starts for each round.

python -m vsr.bench.once < ORDER > OUTCOME       both JSON; errors are one line, with the exit code of vsr-run
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vsr.bench.result import Case, Span
from vsr.errors import VsrError
from vsr.report import Clock, Report
from vsr.settings import EncodeSettings, EngineSettings, RunSettings


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run: what for, of which clip, into which file where its sink is one; and when its process was started."""

    case: Case
    clip: str
    output: str
    begin: float


@dataclass(kw_only=True)
class Outcome:
    """Times in seconds since `Order.begin`; of the stages, every stretch of work."""

    engine: str = ""
    frames: int = 0
    first_frame: float = 0.0
    end: float = 0.0
    peak_mib: float = 0.0
    spans: list[Span] = field(default_factory=list)


def settings(case: Case, clip: str, output: str) -> RunSettings:
    """What vsr-run would be asked for."""
    engine = EngineSettings(
        scale=case.scale,
        network=case.network,
        precision=case.precision,
        threads=case.threads,
        backend=case.backend,
        weights="clean",
    )
    coder, _, preset = case.sink.partition("-")
    if coder != "x264":
        return RunSettings(input=clip, output="", sink="md5" if case.sink == "md5" else "null", engine=engine)
    encode = EncodeSettings(codec="libx264", preset=preset or None)
    return RunSettings(input=clip, output=output, engine=engine, encode=encode, overwrite=True, resume="never")


def once(order: Order, clock: Clock = time.perf_counter) -> Outcome:
    """Raises VsrError as `vsr.pipeline.run`."""
    from vsr.pipeline import run
    from vsr.probe import probe

    outcome = Outcome()

    def seen(report: Report) -> None:
        if report.frames_upscaled and not outcome.first_frame:
            outcome.first_frame = clock() - order.begin

    def record(stage: str, begin: float, end: float) -> None:
        outcome.spans.append((stage, begin - order.begin, end - order.begin))

    wanted = settings(order.case, order.clip, order.output)
    report = run(probe(wanted), wanted, seen, clock, recorder=record)
    outcome.end = clock() - order.begin
    outcome.engine, outcome.frames, outcome.peak_mib = report.engine, report.frames_written, peak()
    return outcome


def peak() -> float:
    """Resident memory of this process at its highest, MiB; of the program alone, not of what it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def main() -> int:
    given: dict[str, Any] = json.load(sys.stdin)
    try:
        outcome = once(Order(**given | {"case": Case(**given["case"])}))
    except VsrError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(outcome)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
