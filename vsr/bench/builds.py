"""Runs of one or more builds of vsr at once, each in a process of its own, that take turns of the machine.

A machine's speed drifts by more than what a change of the program usually costs. Turns of TURN seconds, the others
stopped meanwhile (SIGSTOP), let it drift for all alike; and a run's clock stands still while it is stopped.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

import vsr
from vsr.bench.meters import Busy, Energy
from vsr.bench.once import Order, Outcome
from vsr.bench.result import Case, Round
from vsr.errors import InputError, MemoryLimitError, OutputError, UsageError, VsrError

TURN = 0.05
KNOWN = {kind.exit_code for kind in (UsageError, InputError, OutputError, MemoryLimitError)}
SHEET = "import json, vsr, vsr.bench.machine as m; print(json.dumps([vsr.__version__, m.machine()]))"


class RunFailedError(VsrError):
    """A run ended with an error; its line, and its exit code where that is one of an error's."""

    def __init__(self, line: str, code: int = InputError.exit_code) -> None:
        super().__init__(line)
        self.exit_code = code if code in KNOWN else InputError.exit_code


@dataclass(frozen=True)
class Build:
    """Words that start its Python, and the folder of its package, where that Python need not find it by itself."""

    python: Sequence[str] = (sys.executable, "-P")
    source: str = str(Path(vsr.__file__).resolve().parents[1])

    @classmethod
    def at(cls, path: Path) -> Build:
        """Of a virtual environment's Python, or of a checkout for the Python that runs. Raises UsageError."""
        if (path / "vsr" / "__init__.py").is_file():
            return cls(source=str(path.resolve()))
        if path.is_file() and os.access(path, os.X_OK):
            return cls((str(path.absolute()), "-I"), "")
        raise UsageError(f"{path}: neither a checkout of vsr nor the Python of an environment that has it")

    def environment(self) -> dict[str, str]:
        paths = [self.source, os.environ.get("PYTHONPATH", "")]
        return {**os.environ, **({"PYTHONPATH": os.pathsep.join(filter(None, paths))} if self.source else {})}

    def sheet(self) -> tuple[str, dict[str, Any]]:
        """Its version and machine sheet. Raises UsageError where it has no vsr-bench."""
        command = [*self.python, "-c", SHEET]
        try:
            done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=True)
            version, sheet = json.loads(done.stdout)
        except subprocess.CalledProcessError as error:
            raise UsageError(f"{self}: {_last(error.stderr) or f'ended with {error.returncode}'}") from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{self}: no Python that has vsr-bench ({error})") from error
        return version, sheet

    def __str__(self) -> str:
        return self.source or self.python[0]


@dataclass
class _Running:
    """A run, and when it had the machine: seconds of `time.perf_counter`, begin and end in turn."""

    process: subprocess.Popen[str]
    begin: float
    said: IO[str]
    failed: IO[str]
    held: list[float] = field(default_factory=list)

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.held.append(time.perf_counter())
        self.process.send_signal(signal.SIGCONT)
        yield
        self.held.append(time.perf_counter())

    def had(self, seconds: Sequence[float]) -> list[float]:
        """How much of the machine's time it had so many seconds after its begin."""
        edges = np.array(self.held) - self.begin
        spent = np.cumsum(np.diff(edges, prepend=edges[:1]) * (np.arange(len(edges)) % 2))
        return [float(each) for each in np.interp(seconds, edges, spent)]


def process(builds: Sequence[Build], case: Case, clip: Path, cache: Path, number: int) -> list[tuple[Outcome, Round]]:
    """A run of each build, with a folder of compiled models of its own in `cache`. Raises RunFailedError.

    Args:
        number: of the round; who has the first turn changes with it.
    """
    energy, busy, own = Energy.now(), Busy.now(), children_seconds()
    with ExitStack() as stack:
        runs = [
            stack.enter_context(_started(build, case, clip, cache / str(place))) for place, build in enumerate(builds)
        ]
        first = number % len(runs)
        _take_turns([*runs[first:], *runs[:first]])
        names = [f"{build}, {case}" for build in builds] if len(builds) > 1 else [str(case)]
        outcomes = [_outcome(run, name) for run, name in zip(runs, names, strict=True)]
    own = children_seconds() - own
    later_energy, later_busy = Energy.now(), Busy.now()
    joules = energy.until(later_energy) if energy and later_energy and len(runs) == 1 else None
    others = busy.others(later_busy, own) if busy and later_busy else None
    return [(outcome, _round(outcome, joules, others)) for outcome in outcomes]


@contextmanager
def _started(build: Build, case: Case, clip: Path, cache: Path) -> Iterator[_Running]:
    """A run, stopped; in a process group of its own, so that Ctrl-C is heard by this process alone, which ends it."""
    cache.mkdir(parents=True, exist_ok=True)
    order = Order(case=case, clip=str(clip), output=str(cache / "out.mp4"), begin=time.perf_counter())
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as e:
        given.write(json.dumps(asdict(order)))
        given.seek(0)
        process = subprocess.Popen(
            [*build.python, "-m", "vsr.bench.once"],
            stdin=given,
            stdout=said,
            stderr=e,
            text=True,
            env={**build.environment(), "VSR_CACHE": str(cache)},
            process_group=0,
        )
        process.send_signal(signal.SIGSTOP)
        try:
            yield _Running(process, order.begin, said, e, [order.begin, time.perf_counter()])
        finally:
            process.kill()
            process.wait()


def _take_turns(runs: Sequence[_Running]) -> None:
    """Until all have ended."""
    waiting = list(runs)
    while waiting:
        run = waiting.pop(0)
        with run.turn():
            try:
                run.process.wait(TURN if waiting else None)
            except subprocess.TimeoutExpired:
                run.process.send_signal(signal.SIGSTOP)
                waiting.append(run)


def _outcome(run: _Running, name: str) -> Outcome:
    """In seconds that it had. Raises RunFailedError."""
    for stream in (run.said, run.failed):
        stream.seek(0)
    if code := run.process.returncode:
        raise RunFailedError(f"{name}: {_last(run.failed.read()) or f'ended with {code}'}", code)
    try:
        outcome = Outcome(**json.load(run.said))
    except (ValueError, TypeError) as error:
        raise RunFailedError(f"{name}: not what this vsr-bench takes for a run ({error})") from error
    outcome.first_frame, outcome.end = run.had([outcome.first_frame, outcome.end])
    stages, begins, ends = zip(*outcome.spans, strict=True) if outcome.spans else ((), (), ())
    outcome.spans = list(zip(stages, run.had(begins), run.had(ends), strict=True))
    return outcome


def _last(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _round(outcome: Outcome, joules: float | None, others: float | None) -> Round:
    return Round(
        fps=(outcome.frames - 1) / max(outcome.end - outcome.first_frame, 1e-9),
        seconds=outcome.end,
        first_frame=outcome.first_frame,
        peak_mib=round(outcome.peak_mib, 1),
        joules=joules,
        others=others,
    )


def children_seconds() -> float:
    """Seconds of a core that ended processes of this one took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
