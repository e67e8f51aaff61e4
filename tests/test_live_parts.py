"""What the live loop is made of: its queues, shared frames, figures and the log."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from live_fakes import FakeClock
from strong import frame, spec
from vsr.errors import OutputError
from vsr.frame import FramePool
from vsr.live.mailbox import Mailbox
from vsr.live.protocol import Spread
from vsr.live.stats import Log, Meter, spread
from vsr.shared import held, same, shared

WHAT = spec("420", 8, (16, 8), "unspecified")


def test_a_full_mailbox_pushes_out_the_oldest() -> None:
    box: Mailbox[int] = Mailbox(2)
    assert [box.put(number) for number in (1, 2, 3)] == [[], [], [1]]
    assert (box.take(), box.take(), box.take(0)) == (2, 3, None)


def test_an_offer_waits_for_room_and_a_closed_box_takes_nothing() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.put(1)
    refused: list[list[int]] = []
    waiting = threading.Thread(target=lambda: refused.append(box.offer(2)))
    waiting.start()
    assert box.take() == 1
    waiting.join(30)
    assert (refused, box.take()) == ([[]], 2)
    box.put(3)
    waiting = threading.Thread(target=lambda: refused.append(box.offer(4)))
    waiting.start()
    box.close()
    waiting.join(30)
    assert refused[-1] == [4]
    assert not box.done
    assert (box.take(), box.take()) == (3, None)
    assert box.done
    assert box.put(5) == [5]


def test_a_shared_frame_goes_back_with_its_last_holder() -> None:
    pool = FramePool(WHAT.format, 16, 8)
    planes, lease = pool.take()
    one = shared(frame(WHAT).like(format=WHAT.format, width=16, height=8, planes=planes, lease=lease), 2)
    held(one)
    for left in (1, 1, 0):
        one.release()
        assert pool.leased == left
    with pytest.raises(RuntimeError, match="released twice"):
        one.release()
    with pytest.raises(RuntimeError, match="after its release"):
        held(one)


def test_one_sample_makes_another_frame() -> None:
    one, other = frame(WHAT), frame(WHAT)
    assert same(one.planes, other.planes)
    other.planes[2][3, 3] ^= 1
    assert not same(one.planes, other.planes)


def test_percentiles_by_nearest_rank() -> None:
    assert spread(range(1, 101)) == Spread(50, 95, 99)
    assert spread([7]) == Spread(7, 7, 7)
    assert spread([]) == Spread(0, 0, 0)


def test_a_snapshot_is_of_the_last_seconds_and_the_whole_of_all() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    for number in range(300):
        clock.advance(0.1)
        meter.count("captured")
        meter.took("total", 0.1 if number < 200 else 0.02)
        meter.count("dropped waiting", number % 2)
    seen = meter.snapshot("m4c16", 1, "")
    assert (seen.captured, seen.shown, seen.dropped) == (pytest.approx(10, abs=0.5), 0, 150)
    assert seen.latency == Spread(20, 20, 20)
    assert meter.whole()["total"].p50 == pytest.approx(100, rel=0.01)


def test_the_log_is_lines_of_json(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    log({"kind": "frame", "time": 1.5})
    log.close()
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        {"kind": "frame", "time": 1.5}
    ]
    Log(None)({"kind": "frame"})
    with pytest.raises(OutputError, match="can't be written"):
        Log(tmp_path / "nowhere" / "log.jsonl")
    full = Path("/dev/full")
    if full.exists():
        with pytest.raises(OutputError, match="No space left"):
            Log(full)({"kind": "frame"})
