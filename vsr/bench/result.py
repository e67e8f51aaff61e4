"""What a benchmark measured, as JSON: these dataclasses are its schema, `VERSION` their version."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vsr.errors import InputError
from vsr.report import counted
from vsr.settings import Backend, Precision

VERSION = 1
SIZES = {"360p": (640, 360), "540p": (960, 540), "720p": (1280, 720), "1080p": (1920, 1080)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that is measured.

    Args:
        size: of the input, a name of `SIZES` or "WIDTHxHEIGHT".
        sink: "null", "md5", or x264 into a file: "x264", or with a preset "x264-superfast".
        threads: of the network; 0 for one a core.
    """

    network: str
    size: str = "540p"
    precision: Precision = "auto"
    threads: int = 0
    backend: Backend = "auto"
    sink: str = "null"
    scale: int = 2

    @property
    def name(self) -> str:
        """Short, for tables and plots: what isn't left to vsr."""
        threads = counted(self.threads, "thread") if self.threads else ""
        parts = (self.network, self.size, self.precision, threads, self.backend, self.sink)
        return " ".join(part for part in parts if part not in ("", "auto"))

    def __str__(self) -> str:
        threads = f" {counted(self.threads, 'thread')}" if self.threads else ""
        return f"{self.network} {self.size} x{self.scale} {self.precision} {self.backend}{threads} into {self.sink}"


@dataclass(frozen=True, kw_only=True)
class Round:
    """One run of the whole program in a process of its own.

    Args:
        fps: frames a second after the first frame and up to the very end, verification included.
        seconds: from the process's start to the end of the run.
        first_frame: seconds from the process's start until the sink or encoder had the first frame.
        peak_mib: resident memory at its highest.
        joules: that the processors' packages took meanwhile, whoever used them; None where the machine doesn't tell.
        others: share of all cores' time that other processes, or other machines on the same host, took; None: not told.
    """

    fps: float
    seconds: float
    first_frame: float
    peak_mib: float
    joules: float | None = None
    others: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Of all rounds' calls: milliseconds a call at three percentiles, and the share of all stages' time.

    "network" is the time its thread waits for results, and for frames where decoding is slower.
    """

    calls: int
    p50: float
    p95: float
    p99: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Luma, means over frames of the clip that were reduced by the scale and upscaled again."""

    frames: int
    psnr: float
    ssim: float
    bicubic_psnr: float
    bicubic_ssim: float


Span = tuple[str, float, float]  # stage, begin and end in milliseconds


@dataclass(kw_only=True)
class Measured:
    """A case's results.

    Args:
        engine: network, backend and precision that really ran.
        cold: the first run, with nothing compiled in the cache folder; only of the first sink.
        rounds: of a warm start, in the order they ran; the rounds of all cases were interleaved.
        timeline: a stretch of the last round.
        alone: of the engine by itself, one frame at a time: "frame" from submitting it to having its result, and on a
            GPU "upload", "network" and "download" as the device timed them.
    """

    case: Case
    engine: str = ""
    frames: int = 0
    cold: Round | None = None
    rounds: list[Round] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    timeline: list[Span] = field(default_factory=list)
    quality: Quality | None = None
    alone: dict[str, Stage] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A case that this machine or network hasn't."""

    case: Case
    why: str


@dataclass(kw_only=True)
class Result:
    """A whole benchmark.

    Args:
        together: the same for results of builds that took turns: their rounds are pairs. "" for one alone.
    """

    vsr: str
    machine: dict[str, Any]
    clip: str
    measured: list[Measured] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    together: str = ""
    version: int = VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def read(path: Path) -> Result:
    """Raises InputError for what can't be read or isn't such a result."""
    try:
        given = json.loads(path.read_text())
        if given["version"] != VERSION:
            raise InputError(f"{path}: version {given['version']} of the format, this vsr-bench reads {VERSION}")
        measured = [_measured(each) for each in given.pop("measured")]
        absent = [Absent(case=Case(**each["case"]), why=each["why"]) for each in given.pop("absent")]
        return Result(**given, measured=measured, absent=absent)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a result of vsr-bench ({type(error).__name__}: {error})") from error


def _measured(given: dict[str, Any]) -> Measured:
    parts: dict[str, Any] = {
        "case": Case(**given.pop("case")),
        "cold": Round(**cold) if (cold := given.pop("cold")) else None,
        "rounds": [Round(**each) for each in given.pop("rounds")],
        "stages": {name: Stage(**each) for name, each in given.pop("stages").items()},
        "alone": {name: Stage(**each) for name, each in given.pop("alone").items()},
        "timeline": [(stage, begin, end) for stage, begin, end in given.pop("timeline")],
        "quality": Quality(**quality) if (quality := given.pop("quality")) else None,
    }
    return Measured(**parts, **given)
