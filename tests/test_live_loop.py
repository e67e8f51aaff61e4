"""The live loop on fakes: what is shown, what is dropped and counted, who closes what, and whose error it is."""

from __future__ import annotations

import threading

import pytest

from live_fakes import FakeClock, FakeSink, Opening, Run
from vsr.device.protocol import DeviceError
from vsr.errors import InputError, Interrupted, OutputError
from vsr.graph import FrameSpec
from vsr.live.controller import Control, recorded, replay
from vsr.live.ladder import Ladder
from vsr.live.protocol import Sound

SMALL, LARGE = (16, 8), (20, 12)


def grey(*levels: int) -> list[tuple[int, tuple[int, int]]]:
    return [(level, SMALL) for level in levels]


def test_every_frame_is_shown_upscaled() -> None:
    run = Run(grey(10, 20, 30))()
    assert run.sink.shown == [(0, "m4c16", False), (1, "m4c16", False), (2, "m4c16", False)]
    assert run.sink.means == [10, 20, 30]
    assert run.meter.counts["shown"] == run.meter.counts["new"] == run.meter.counts["captured"] == 3
    assert run.meter.dropped == 0


def test_a_duplicate_costs_no_network() -> None:
    run = Run(grey(10, 10, 20, 10))()
    assert [repeated for _, _, repeated in run.sink.shown] == [False, True, False, False]
    assert run.sink.means == [10, 10, 20, 10]
    assert run.meter.counts["repeated"] == 1
    assert sum(line["kind"] == "frame" for line in run.lines) == 3


def gated(levels: range, sink: FakeSink) -> Run:
    """A run whose network waits until all was captured."""
    opening = Opening(FakeClock())
    opening.gate = threading.Event()
    return Run(grey(*levels), sink=sink, opening=opening, before=lambda number: None, after=opening.gate.set)


def test_what_is_watched_keeps_the_newest() -> None:
    run = gated(range(1, 9), FakeSink("newest"))()
    assert run.sink.means[-1] == 8
    assert len(run.sink.shown) <= 2  # the one the network had, and the last
    assert run.meter.dropped == 8 - len(run.sink.shown)


def test_what_is_kept_waits_in_a_bounded_queue() -> None:
    run = gated(range(1, 9), FakeSink("all"))()
    assert run.sink.means == list(range(1, 9))
    run = gated(range(1, 101), FakeSink("all"))()
    assert run.sink.means[-64:] == list(range(37, 101))
    assert run.meter.dropped == 100 - len(run.sink.shown) >= 35


def test_a_size_change_opens_other_engines() -> None:
    run = Run([(10, SMALL), (10, LARGE), (20, LARGE)])()
    assert run.sink.means == [10, 10, 20]
    assert not any(repeated for _, _, repeated in run.sink.shown)
    assert "yuv420p 16x8 becomes yuv420p 20x12" in run.said
    assert len(run.opening.engines) == 6


def test_the_first_error_is_the_one() -> None:
    with pytest.raises(InputError, match="the cable"):
        Run([(10, SMALL), InputError("the cable")])()
    sink = FakeSink()
    sink.error = OutputError("disk full")
    with pytest.raises(OutputError, match="disk full"):
        Run(grey(10), sink=sink)()
    with pytest.raises(KeyError):  # the network's thread: no such engine
        Run(grey(10), opening=Opening(FakeClock(), m4c8=1))()


def test_a_gpu_that_fails_costs_a_frame_and_one_that_fails_on_ends_the_run() -> None:
    sink, opening = FakeSink("all"), Opening(FakeClock())

    def before(number: int) -> None:
        sink.wait_for(number if number < 2 else number - 1)
        if number == 1:
            opening.engines[0].failures.append(DeviceError("cuMemcpy: gone"))

    run = Run(grey(10, 20, 30, 40), sink=sink, opening=opening, before=before)()
    assert run.sink.means == [10, 30, 40]
    assert run.meter.counts["dropped by a failing device"] == 1
    assert "cuMemcpy: gone; opening engines anew" in run.said
    assert len(run.opening.engines) == 6

    class Broken(Opening):
        def ladder(self, spec: FrameSpec) -> Ladder:
            ladder = super().ladder(spec)
            self.engines[-3].failures.append(DeviceError("cuMemcpy: gone"))
            return ladder

    with pytest.raises(DeviceError, match="gone"):
        Run(grey(*range(9)), sink=FakeSink("all"), opening=Broken(FakeClock()), before=lambda number: None)()


def test_closing_the_sink_ends_the_run() -> None:
    run = Run(grey(10, 20))
    run.sink.unwanted = True
    assert run().sink.shown == []


def test_a_signal_ends_the_run_in_order() -> None:
    sink = FakeSink()
    with pytest.raises(Interrupted) as caught:
        Run(grey(10, 20), sink=sink, stop=lambda: 15 if sink.shown else 0)()
    assert caught.value.exit_code == 143
    assert sink.means == [10]


def test_sound_goes_past_the_network() -> None:
    sounds = [Sound(packet=number, at=100.0) for number in range(3)]
    run = Run([sounds[0], (10, SMALL), sounds[1], (20, SMALL), sounds[2]])()
    assert run.sink.heard == sounds


def test_control_steps_down_and_the_log_replays() -> None:
    opening = Opening(FakeClock(), m4c16=0.05, m4c8=0.02, cubic=0.001)
    sink = FakeSink()

    def before(number: int) -> None:
        sink.wait_for(number)
        opening.clock.advance(0.03)

    run = Run(grey(*range(200), *range(200)), sink=sink, opening=opening, before=before, control=Control())()
    assert [rung for _, rung, _ in run.sink.shown[:1]] == ["m4c16"]
    assert {rung for _, rung, _ in run.sink.shown[40:]} == {"m4c8"}
    assert len(recorded(run.lines)) == 1
    assert replay(run.lines) == recorded(run.lines)
    assert run.said[-1] == "m4c8: 3 of 3 frames late"


@pytest.mark.parametrize(
    ("longest", "each", "drops", "expected"),
    [
        (1 / 30, 2, 1, "m4c16"),  # a game of 30 new frames a second has 33 ms for each
        (1 / 30, 1, 1, "m4c8"),  # one of 60 hasn't
        (None, 2, 1, "m4c8"),  # nor where the time is set
        (1 / 30, 2, 3, "m4c8"),  # of what was dropped nobody knows whether it was new
    ],
)
def test_the_time_for_a_frame_follows_how_many_are_new(
    longest: float | None, each: int, drops: int, expected: str
) -> None:
    """Captured 60 times a second, the network takes 25 ms."""
    opening, sink = Opening(FakeClock(), m4c16=0.025, m4c8=0.005, cubic=0.001), FakeSink()

    def before(number: int) -> None:
        sink.wait_for(number)
        opening.clock.now = max(opening.clock.now, 100 + number / 60)

    run = Run(
        grey(*(n // each for n in range(120))), sink=sink, opening=opening, before=before, control=Control(),
        budget=1 / 60, longest=longest,
    )  # fmt: skip
    run.source.step = drops
    assert {rung for _, rung, _ in run().sink.shown[60:]} == {expected}
    assert replay(run.lines) == recorded(run.lines)


def test_overload_of_all_rungs_leaves_out_every_second_frame() -> None:
    opening = Opening(FakeClock(), m4c16=0.5, m4c8=0.4, cubic=0.35)
    sink = FakeSink("all")
    run = Run(
        grey(*range(15)), sink=sink, opening=opening, before=lambda n: sink.wait_for(min(n, 9)), control=Control()
    )()
    assert [number for number, _, _ in run.sink.shown] == [*range(9), 10, 12, 14]
    assert run.sink.shown[-1][1] == "cubic, every second frame"
    assert run.meter.counts["dropped by control"] == 3


def test_a_hand_on_the_ladder() -> None:
    sink = FakeSink()

    def before(number: int) -> None:
        sink.wait_for(number)
        if number in (1, 2):
            sink.console.step(1 if number == 1 else -5)

    run = Run(grey(10, 20, 30), sink=sink, before=before, control=Control())()
    assert [rung for _, rung, _ in run.sink.shown] == ["m4c16", "m4c8", "m4c16"]
    assert replay(run.lines) == []
