"""Deadline control: which rung the next frame takes, as a pure function of how the last ones went.

No clock and no threads in here, so that what a run decided can be decided again from its log (`replay`). Times are
seconds. A frame's share is its upscaling over the time it had from its start to its deadline; above 1 it missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, inf
from statistics import median
from typing import Any

from vsr.errors import UsageError

WORST = 10.0  # a share at most, also of frames that were late before they began
LOOKED_AT = 120  # frames of the present level, for percentiles
LOOKED_BACK = 60  # captured frames, for how many of them are new
SMOOTHING = 0.1  # weight of the newest share in the average


@dataclass(frozen=True, kw_only=True)
class Control:
    """When to change rungs."""

    misses: int = 3  # of the last `window` frames: goes down
    window: int = 30
    clean: float = 5.0  # seconds without a miss before it goes up; twice as long each time going up failed
    patience: float = 80.0  # seconds that may become at most
    headroom: float = 0.25  # share of the time that must be left over on the rung above, as predicted
    dwell: float = 1.0  # seconds between two changes at least
    half: float = 0.5  # share that the last rung usually takes, above which it leaves out every second frame


@dataclass(frozen=True)
class Rung:
    """One way to upscale; `seconds` a frame took when it was warmed up."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Timing:
    """One upscaled frame: ready at `time`, due at `deadline`, `taken` seconds of work, at `level`."""

    time: float
    deadline: float
    taken: float
    level: int


@dataclass(frozen=True)
class Decision:
    """A change: from `time` on `level`, and why. Level n of n rungs is the last rung for every second new frame."""

    time: float
    level: int
    reason: str


@dataclass(frozen=True)
class State:
    """All that control remembers; `shares` are of the present level, the newest last.

    `quickest` has each rung's quickest frame, warm-up included: it tells how much dearer one is than another, whatever
    else the machine does meanwhile.
    """

    level: int = 0
    since: float = -inf
    missed: float = -inf
    rose: float = -inf
    wanted: float = 0.0
    average: float = 0.0
    shares: tuple[float, ...] = ()
    quickest: tuple[float, ...] = ()


def rung_of(level: int, rungs: int) -> tuple[int, int]:
    """(number of the rung, 1 for every new frame or 2 for every second) at a level."""
    return min(level, rungs - 1), 1 + (level >= rungs)


def named(level: int, rungs: tuple[Rung, ...]) -> str:
    """What a user reads of a level."""
    number, every = rung_of(level, len(rungs))
    return f"{rungs[number].name}{', every second frame' if every == 2 else ''}"


def allowed(budget: float, longest: float, news: Sequence[bool]) -> float:
    """Seconds a frame may take: until the next new one is to be expected, by how many were new lately.

    Args:
        budget: seconds from one captured frame to the next.
        longest: seconds at most, also where next to nothing moves; at least `budget`.
        news: of the last captured frames, whether each was new (or may have been, as it was never looked at).
    """
    return min(budget * len(news) / sum(news), max(budget, longest)) if any(news) else budget


def follow(state: State, timing: Timing, rungs: tuple[Rung, ...], control: Control) -> tuple[State, Decision | None]:
    """The state after one more frame, and the change it leads to."""
    if timing.level != state.level:  # begun before the last change
        return state, None
    state = _seen(state, timing, rungs)
    if timing.time - state.since < control.dwell:
        return state, None
    late = sum(share > 1 for share in state.shares[-control.window :])
    if late >= control.misses and _worth_less(state, len(rungs), control):
        reason = f"{late} of {min(control.window, len(state.shares))} frames late"
        return _lowered(state, timing.time, control), Decision(timing.time, state.level + 1, reason)
    if state.level and _calm(state, timing.time, control):
        predicted = _predicted(state)
        if predicted <= 1 - control.headroom:
            reason = f"{predicted:.0%} of the time predicted"
            risen = replace(moved(state, timing.time, state.level - 1), rose=timing.time)
            return risen, Decision(timing.time, state.level - 1, reason)
    return state, None


def moved(state: State, time: float, level: int) -> State:
    """The state when the level changes, whoever changed it."""
    return replace(state, level=level, since=time, average=0.0, shares=())


def _seen(state: State, timing: Timing, rungs: tuple[Rung, ...]) -> State:
    had = timing.deadline - (timing.time - timing.taken)
    share = min(timing.taken / had, WORST) if had > 0 else WORST
    average = state.average + SMOOTHING * (share - state.average) if state.shares else share
    missed = timing.time if share > 1 else state.missed
    before, here = state.quickest or tuple(rung.seconds for rung in rungs), rung_of(state.level, len(rungs))[0]
    quickest = tuple(min(best, timing.taken) if n == here else best for n, best in enumerate(before))
    shares = (*state.shares[1 - LOOKED_AT :], share)
    return replace(state, missed=missed, average=average, shares=shares, quickest=quickest)


def _worth_less(state: State, rungs: int, control: Control) -> bool:
    """Whether there is a level below that may help; half the frames don't where the network isn't what takes long."""
    if state.level < rungs - 1:
        return True
    return state.level < rungs and median(state.shares[-control.window :]) > control.half


def _lowered(state: State, time: float, control: Control) -> State:
    """Down by one; an ascent that didn't last as long as it was waited for makes the next wait twice as long."""
    wanted = max(state.wanted, control.clean)
    failed = time - state.rose < wanted
    wanted = min(2 * wanted, control.patience) if failed else control.clean
    return replace(moved(state, time, state.level + 1), wanted=wanted)


def _calm(state: State, time: float, control: Control) -> bool:
    """Whether nothing was missed for long enough, and enough frames were seen to say so."""
    wanted = max(state.wanted, control.clean)
    return len(state.shares) >= control.window and time - max(state.since, state.missed) >= wanted


def _predicted(state: State) -> float:
    """The share on the level above: this one's average or 95th percentile, whichever is more, by the rungs' times."""
    here, above = (state.quickest[rung_of(level, len(state.quickest))[0]] for level in (state.level, state.level - 1))
    p95 = sorted(state.shares)[ceil(0.95 * len(state.shares)) - 1]
    return max(state.average, p95) * above / here


def replay(lines: Iterable[Mapping[str, Any]]) -> list[Decision]:
    """The decisions that the lines of a log (`--stats`, tests/traces) lead to; those it recorded are passed over.

    Raises:
        UsageError: frames before a line has named the rungs.
    """
    rungs, state, decisions = tuple[Rung, ...](), State(), list[Decision]()
    control: Control | None = None
    for line in lines:
        match line["kind"]:
            case "rungs":
                rungs, state = tuple(Rung(**rung) for rung in line["rungs"]), State()
                control = Control(**line["control"]) if line["control"] else None
            case "step":
                state = moved(state, line["time"], line["level"])
            case "frame" if not rungs:
                raise UsageError("a frame's line before one that names the rungs")
            case "frame" if control:
                timing = Timing(line["time"], line["deadline"], line["taken"], line["level"])
                state, decision = follow(state, timing, rungs, control)
                decisions += [decision] if decision else []
    return decisions


def recorded(lines: Iterable[Mapping[str, Any]]) -> list[Decision]:
    """The decisions that a log tells of."""
    return [Decision(line["time"], line["level"], line["reason"]) for line in lines if line["kind"] == "decision"]


def header(rungs: tuple[Rung, ...], control: Control | None) -> dict[str, Any]:
    """The line of a log that says what is controlled; control starts anew there, or is off."""
    return {"kind": "rungs", "rungs": [asdict(rung) for rung in rungs], "control": control and asdict(control)}
