"""Deadline control on the recorded traces and on loads made up: it decides again what it decided, and never flaps."""

from __future__ import annotations

import json
from itertools import pairwise
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsr.errors import UsageError
from vsr.live.controller import (
    Control,
    Decision,
    Rung,
    State,
    Timing,
    allowed,
    follow,
    header,
    moved,
    named,
    recorded,
    replay,
    rung_of,
)

TRACES = sorted(Path(__file__).with_name("traces").glob("*.jsonl"))
RUNGS = (Rung("m10c16", 0.016), Rung("m4c16", 0.008), Rung("m4c8", 0.004), Rung("cubic", 0.001))
CONTROL = Control()
PERIOD = 1 / 30


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def driven(loads: list[float], seed: int = 0) -> tuple[list[int], list[Decision]]:
    """Levels after each frame, and decisions, when the machine is so many times slower for a second each.

    30 frames a second come; the network takes the newest one as soon as it is done with the one before.
    """
    random, state, levels, decisions = np.random.default_rng(seed), State(), list[int](), list[Decision]()
    now, taken_up = 0.0, -1
    while now < len(loads):
        newest = floor(now / PERIOD + 1e-9)
        if newest == taken_up:
            now = (newest + 1) * PERIOD
            continue
        taken = RUNGS[rung_of(state.level, len(RUNGS))[0]].seconds * loads[int(now)] * float(random.uniform(1, 1.1))
        now, taken_up = now + taken, newest
        state, decision = follow(state, Timing(now, (newest + 1) * PERIOD, taken, state.level), RUNGS, CONTROL)
        decisions += [decision] if decision else []
        levels.append(state.level)
    return levels, decisions


def test_the_traces_are_there() -> None:
    assert [path.stem for path in TRACES] == ["bursts", "drift", "game", "hog", "sawtooth", "steady"]


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_trace_leads_to_the_decisions_it_recorded(path: Path) -> None:
    trace = lines(path)
    assert replay(trace) == recorded(trace)
    assert bool(recorded(trace)) == (path.stem != "steady")
    levels = [0, *(decision.level for decision in recorded(trace))]
    assert all(abs(after - before) == 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_trace_of_another_control_decides_otherwise(path: Path) -> None:
    """So that the test above can fail."""
    trace = lines(path)
    timid = [line | {"control": line["control"] | {"misses": 1, "dwell": 0.0}} if line["kind"] == "rungs" else line
             for line in trace]  # fmt: skip
    assert replay(timid) != recorded(trace) or path.stem == "steady"


def test_sustained_overload_goes_down_within_a_bounded_number_of_frames() -> None:
    levels, decisions = driven([3.0] * 10)  # m10c16 takes 48 ms, m4c16 24
    assert levels[-1] == 1
    assert levels.index(1) <= CONTROL.misses
    levels, decisions = driven([100.0] * 60)  # nothing is quick enough
    assert levels[-1] == len(RUNGS)
    assert named(levels[-1], RUNGS) == "cubic, every second frame"
    assert levels.index(len(RUNGS)) <= len(RUNGS) * (CONTROL.misses + CONTROL.dwell / PERIOD)
    assert decisions[-1].time <= len(RUNGS) * (CONTROL.dwell + CONTROL.misses * 2)


def test_frames_are_left_out_only_where_that_helps() -> None:
    """The last rung takes 1 of 33 ms; something else holds it up now and then."""
    state, number = moved(State(), 0.0, len(RUNGS) - 1), 0
    for number in range(600):
        taken, begin = 0.05 if number % 8 == 0 else 0.001, number * PERIOD
        timing = Timing(begin + taken, begin + PERIOD, taken, len(RUNGS) - 1)
        state, decision = follow(state, timing, RUNGS, CONTROL)
        assert decision is None


def test_it_recovers_when_the_load_goes() -> None:
    levels, decisions = driven([1.0] * 2 + [20.0] * 5 + [1.0] * 40)
    assert max(levels) == 3
    assert levels[-1] == 0
    ups = [after.time for before, after in pairwise(decisions) if after.level < before.level]
    assert all(later - sooner >= CONTROL.clean for sooner, later in pairwise(ups))


def test_it_stays_where_the_rung_above_would_be_late() -> None:
    levels, _ = driven([3.0] * 100)  # m10c16 would take 48 ms of 33
    assert set(levels[10:]) == {1}
    state = moved(State(), 0.0, 1)  # 27 ms predicted: in time, but without headroom
    for number in range(600):
        taken, begin = 0.0136, number * PERIOD
        state, decision = follow(state, Timing(begin + taken, begin + PERIOD, taken, 1), RUNGS, CONTROL)
        assert decision is None


@pytest.mark.parametrize("seed", range(8))
def test_no_flapping_whatever_the_load(seed: int) -> None:
    random = np.random.default_rng(seed)
    loads = np.repeat(np.exp(random.uniform(0, 4, 60)), random.integers(1, 12, 60)).tolist()
    _, decisions = driven(loads, seed=seed)
    assert decisions
    for before, after in pairwise(decisions):
        assert after.time - before.time >= CONTROL.dwell
        assert abs(after.level - before.level) == 1
        if after.level < before.level:
            assert after.time - before.time >= CONTROL.clean


def test_an_ascent_that_fails_makes_the_next_wait_longer() -> None:
    """A load that looks light from below: the rung above is late only once it runs."""
    state, ups, begin = moved(State(), 0.0, 1), [], 0.0
    while begin < 300:
        taken = 0.04 if state.level == 0 else 0.005
        state, decision = follow(state, Timing(begin + taken, begin + PERIOD, taken, state.level), RUNGS, CONTROL)
        if decision and decision.level == 0:
            ups.append(decision.time)
        begin += PERIOD
    waits = [later - sooner for sooner, later in pairwise(ups)]
    assert len(waits) >= 3
    assert all(later > 1.5 * sooner or sooner >= CONTROL.patience for sooner, later in pairwise(waits))
    assert max(waits) < CONTROL.patience + CONTROL.dwell + 1


def test_a_frame_of_the_rung_before_says_nothing() -> None:
    state = moved(State(), 10.0, 1)
    assert follow(state, Timing(10.1, 10.0, 0.1, 0), RUNGS, CONTROL) == (state, None)


@pytest.mark.parametrize(
    ("news", "milliseconds"),
    [
        ([], 16),
        ([True] * 60, 16),
        ([True, False] * 30, 32),
        ([True, True, False, True] * 15, 21.33),
        ([True] + [False] * 59, 33),  # next to nothing moves
    ],
)
def test_a_frame_has_until_the_next_new_one(news: list[bool], milliseconds: float) -> None:
    assert allowed(0.016, 0.033, news) == pytest.approx(milliseconds / 1000, abs=1e-5)
    assert allowed(0.040, 0.033, news) == 0.040  # a slow camera
    assert allowed(0.016, 0.016, news) == 0.016  # set by hand


def test_frames_need_rungs_and_no_control_decides_nothing() -> None:
    late = [{"kind": "frame", "time": n + 1.0, "deadline": n + 0.5, "taken": 1.0, "level": 0} for n in range(9)]
    with pytest.raises(UsageError, match="names the rungs"):
        replay(late)
    assert replay([header(RUNGS, None), *late]) == []
    assert len(replay([header(RUNGS, CONTROL), *late])) == 1
