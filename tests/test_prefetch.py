"""prefetch gives what its upstream gives, and leaves no thread and no item behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from vsr.prefetch import prefetch

DEPTHS = (0, 1, 3)


class Upstream:
    """Numbers, with a record of what happened and on which thread."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count, self.error = count, error
        self.made: list[int] = []
        self.threads: set[int] = set()
        self.closed = False

    def items(self) -> Generator[int]:
        try:
            for number in range(self.count):
                self.threads.add(threading.get_ident())
                self.made.append(number)
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.threads.add(threading.get_ident())
            self.closed = True


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Generator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("count", [0, 1, 50])
def test_same_items_same_order(depth: int, count: int) -> None:
    upstream = Upstream(count)
    assert list(prefetch(upstream.items(), depth)) == list(range(count))
    assert upstream.closed


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_an_exception_arrives_after_the_items_before_it(depth: int, error: BaseException) -> None:
    got: list[int] = []
    with pytest.raises(type(error)) as caught:
        got.extend(prefetch(Upstream(5, error).items(), depth))
    assert got == [0, 1, 2, 3, 4]
    assert caught.value is error


@pytest.mark.parametrize("depth", DEPTHS)
def test_closing_stops_the_upstream_and_discards_what_waits(depth: int) -> None:
    upstream, dropped, got = Upstream(10**6), list[int](), []
    with closing(prefetch(upstream.items(), depth, dropped.append)) as items:
        got += [next(items), next(items)]
        time.sleep(0.05)
    assert upstream.closed
    assert sorted(got + dropped) == upstream.made
    assert len(upstream.made) <= 2 + depth + 1  # at most `depth` wait, one more is in the thread's hand


@pytest.mark.parametrize("depth", [1, 3])
def test_its_thread_alone_touches_the_upstream(depth: int) -> None:
    upstream = Upstream(20)
    with closing(prefetch(upstream.items(), depth)) as items:
        next(items)
    assert len(upstream.threads) == 1
    assert threading.get_ident() not in upstream.threads


def test_depth_0_has_no_thread() -> None:
    upstream = Upstream(3)
    list(prefetch(upstream.items(), 0))
    assert upstream.threads == {threading.get_ident()}


@pytest.mark.parametrize("depth", [1, 2, 8])
def test_it_runs_ahead_by_depth_and_no_further(depth: int) -> None:
    upstream = Upstream(100)
    with closing(prefetch(upstream.items(), depth)) as items:
        next(items)
        deadline = time.monotonic() + 5
        while len(upstream.made) < depth + 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        assert len(upstream.made) == depth + 2  # one given, `depth` waiting, one in hand


def test_the_consumers_exception_closes_everything() -> None:
    upstream, dropped = Upstream(100), list[int]()

    def consume() -> None:
        with closing(prefetch(upstream.items(), 2, dropped.append)) as items:
            for item in items:
                raise LookupError(item)

    with pytest.raises(LookupError):
        consume()
    assert upstream.closed
    assert [0, *sorted(dropped)] == upstream.made


def test_a_chain_closes_from_the_end() -> None:
    upstream, dropped = Upstream(10**6), list[int]()

    def doubled(source: Generator[int]) -> Generator[int]:
        with closing(source):
            for item in source:
                yield 2 * item

    with closing(prefetch(doubled(prefetch(upstream.items(), 2, dropped.append)), 2, dropped.append)) as items:
        assert [next(items) for _ in range(3)] == [0, 2, 4]
    assert upstream.closed
    assert len(dropped) == len(upstream.made) - 3


def test_what_was_never_started_can_be_closed() -> None:
    upstream = Upstream(3)
    prefetch(upstream.items(), 2).close()
    assert upstream.made == []
