"""When frames of a live stream are handed on: evenly, no later than need be, and never far behind."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from vsr.live.playout import MOST, Playout

FRAME, COUNT = 1 / 30, 1800
EVEN = [n * FRAME for n in range(COUNT)]


def handed_on(arrivals: list[float], stamps: list[float]) -> list[float]:
    """When each frame goes on, where one thread receives and one waits."""
    playout, coming, free, out = Playout(), sorted(zip(arrivals, stamps, strict=True)), 0.0, []
    for arrival, stamp in zip(arrivals, stamps, strict=True):
        now = max(arrival, free)
        while coming and coming[0][0] <= now:
            come, of = coming.pop(0)
            playout.came(of, come)
        free = now + playout.wait(stamp, now)
        out.append(free)
    return out


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_an_even_stream_waits_for_nothing() -> None:
    assert handed_on(EVEN, EVEN) == EVEN


@pytest.mark.parametrize("burst", [3, 5, 9])
def test_bursts_are_spread(burst: int) -> None:
    arrivals = [(n // burst + 1) * burst * FRAME for n in range(COUNT)]
    out = handed_on(arrivals, EVEN)
    assert gaps(out)[2 * burst :] == pytest.approx([FRAME] * (COUNT - 1 - 2 * burst), abs=1e-9)
    assert max(late - stamp for late, stamp in zip(out, EVEN, strict=True)) <= burst * FRAME + 1e-9


def test_jitter_is_evened_out_and_forgotten() -> None:
    chance, arrivals, latest = random.Random(1), list[float](), 0.0
    for n in range(COUNT):
        latest = max(latest, n * FRAME + (chance.expovariate(1 / 0.015) if n < COUNT // 3 else 0))
        arrivals.append(latest)
    out = handed_on(arrivals, EVEN)
    assert min(gaps(arrivals)) == 0
    assert min(gaps(out)) > 0.8 * FRAME, "nor when the delay shrinks again"
    assert out[-1] == arrivals[-1]


@pytest.mark.parametrize("speed", [0.999, 1.001])
def test_a_sender_with_another_clock(speed: float) -> None:
    arrivals = [speed * stamp for stamp in EVEN]
    held = [late - arrival for late, arrival in zip(handed_on(arrivals, EVEN), arrivals, strict=True)]
    assert max(held) < 0.02


def test_what_a_server_kept_is_no_delay() -> None:
    """It begins with the last two seconds, at once."""
    arrivals = [max(2.0, stamp) for stamp in EVEN]
    out = handed_on(arrivals, EVEN)
    assert out[30] == 2.0
    assert out[-1] == arrivals[-1]


def test_a_network_that_stood_still_is_made_up_for() -> None:
    arrivals = [21.0 if 600 <= n < 630 else stamp for n, stamp in enumerate(EVEN)]
    behind = [late - stamp for late, stamp in zip(handed_on(arrivals, EVEN), EVEN, strict=True)]
    assert max(behind[630:]) <= MOST + 1e-9
    assert behind[-1] == pytest.approx(0, abs=1e-9)


def test_times_that_jump() -> None:
    stamps = [stamp + 5 * (n >= 600) - 8 * (n >= 1200) for n, stamp in enumerate(EVEN)]
    held = [late - arrival for late, arrival in zip(handed_on(EVEN, stamps), EVEN, strict=True)]
    assert max(held) <= MOST + 1e-9
    assert held[-1] == pytest.approx(0, abs=1e-9)
