"""The Engine contract, on every engine there is, and its queue on a fake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slots import OnFake
from strong import assert_close, chosen, frame, luma_model, spec
from vsr.backends import cache_folder
from vsr.backends.cuda import SlotEngine
from vsr.backends.engine import Engine, InFlight, Ticket
from vsr.backends.openvino import OpenVINOEngine
from vsr.backends.pytorch.engine import PyTorchEngine
from vsr.backends.tiled import Grid, TiledEngine
from vsr.device.fake import FakeDevice
from vsr.errors import UsageError
from vsr.frame import Frame, FramePool
from vsr.graph import describe
from vsr.settings import EngineSettings

WHAT = spec("420", 8, (41, 27))


@pytest.fixture(params=["openvino", "pytorch", "tiled", "slots"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    choice = chosen(tmp_path, luma_model(2), "float32")
    opened: Engine
    if request.param == "openvino":
        opened = OpenVINOEngine(choice, WHAT, threads=2)
    elif request.param == "pytorch":
        opened = PyTorchEngine(choice, WHAT)
    elif request.param == "slots":
        device = FakeDevice()
        opened = SlotEngine(device, OnFake(device, describe(luma_model(2), WHAT)), WHAT, 2)
    else:
        grid = Grid(spec=WHAT, width=16, height=16, halo=8)
        opened = TiledEngine(grid, OpenVINOEngine(choice, grid.tile, threads=2), 2)
    yield opened
    opened.close()


def pooled(count: int) -> tuple[FramePool, list[Frame]]:
    """Frames whose buffers are counted."""
    pool, frames = FramePool(WHAT.format, WHAT.width, WHAT.height), []
    for index in range(count):
        planes, lease = pool.take()
        original = frame(WHAT, index)
        for target, source in zip(planes, original.planes, strict=True):
            target[:] = source
        frames.append(original.like(format=WHAT.format, width=41, height=27, planes=planes, lease=lease))
    return pool, frames


def test_results_come_in_order_and_inputs_go_back(engine: Engine) -> None:
    pool, frames = pooled(engine.capacity)
    tickets = [engine.submit(f) for f in frames]
    assert [t.number for t in tickets] == list(range(len(frames)))
    results = [engine.wait(ticket) for ticket in tickets]
    assert [(r.index, r.pts, r.width, r.height) for r in results] == [(i, 1001 * i, 82, 54) for i in range(len(frames))]
    assert pool.leased == 0, "an input was not released"
    assert engine.leased == len(results)
    for result in results:
        result.release()
    assert engine.leased == 0
    assert engine.label


def test_one_more_than_capacity_is_refused(engine: Engine) -> None:
    for index in range(engine.capacity):
        engine.submit(frame(WHAT, index))
    with pytest.raises(RuntimeError, match="in flight already"):
        engine.submit(frame(WHAT))
    results = engine.drain()
    assert [result.index for result in results] == list(range(engine.capacity))
    for result in results:
        result.release()


def test_a_leak_is_an_error(engine: Engine) -> None:
    result = engine.wait(engine.submit(frame(WHAT)))
    with pytest.raises(RuntimeError, match="never released"):
        engine.close()
    result.release()


def test_only_the_oldest_can_be_waited_for(engine: Engine) -> None:
    first = engine.submit(frame(WHAT))
    with pytest.raises(ValueError, match="not the oldest"):
        engine.wait(Ticket(first.number + 1))
    engine.wait(first).release()
    with pytest.raises(ValueError, match="not the oldest"):
        engine.wait(first)


def test_another_size_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="41x27"):
        engine.submit(frame(spec("420", 8, (42, 27))))
    with pytest.raises(ValueError, match="41x27"):
        engine.submit(frame(spec("420", 8, (41, 27), "center")))


def test_reset_drops_and_releases(engine: Engine) -> None:
    pool, frames = pooled(engine.capacity)
    for one in frames:
        engine.submit(one)
    engine.reset()
    assert pool.leased == engine.leased == 0
    assert engine.ready() == []
    engine.wait(engine.submit(frame(WHAT))).release()


def test_results_go_where_the_caller_says(engine: Engine) -> None:
    ours = engine.wait(engine.submit(frame(WHAT)))
    out = WHAT.format.views(np.full(WHAT.format.nbytes(82, 54), 77, np.uint8), 82, 54)
    theirs = engine.wait(engine.submit(frame(WHAT), out))
    assert theirs.planes is out
    assert theirs.lease is None
    assert engine.leased == 1
    assert_close(out, ours.planes)
    ours.release()


def test_time_limits(engine: Engine) -> None:
    ticket = engine.submit(frame(WHAT))
    try:
        result = engine.wait(ticket, timeout=0)
    except TimeoutError:
        result = engine.wait(ticket, timeout=60)
    result.release()


def test_queue_keeps_submission_order_whatever_finishes_first() -> None:
    done: set[str] = set()
    results = {name: frame(spec(size=(2, 2)), index) for index, name in enumerate("abc")}
    queue: InFlight[str] = InFlight(3, done.__contains__, lambda name, _: results[name])
    tickets = [queue.push(name) for name in "abc"]
    done |= {"b", "c"}
    assert queue.ready() == []
    done.add("a")
    assert queue.ready() == [results["a"], results["b"], results["c"]]
    assert len(queue) == 0
    assert [t.number for t in tickets] == [0, 1, 2]


def test_a_ticket_outlives_its_timeout() -> None:
    late = [True]

    def finish(name: str, timeout: float | None) -> Frame:
        if timeout is not None and late.pop():
            raise TimeoutError(name)
        return frame(spec(size=(2, 2)))

    queue: InFlight[str] = InFlight(1, lambda _: False, finish)
    ticket = queue.push("a")
    with pytest.raises(TimeoutError):
        queue.wait(ticket, 0.1)
    assert queue.wait(ticket, None).index == 0


def test_unknown_backend_lists_the_known() -> None:
    with pytest.raises(UsageError, match="auto, tensorrt, pytorch, openvino"):
        EngineSettings(backend="cuda").validate()  # type: ignore[arg-type]


def test_cache_folder(tmp_path: Path) -> None:
    at = tmp_path / "given"
    assert cache_folder({"VSR_CACHE": str(at)}) == at
    assert at.is_dir()
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "vsr"
    assert cache_folder({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "vsr"
    blocked = tmp_path / "file"
    blocked.touch()
    assert cache_folder({"VSR_CACHE": str(blocked / "below")}) is None
