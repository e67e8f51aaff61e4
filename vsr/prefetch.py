"""The one concurrency primitive of the file path."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")
_TICK = 0.1  # seconds between looks at the stop flag when the queue is full


class _End:
    """Last thing in the queue: how the upstream ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(
    upstream: Generator[Item], depth: int, discard: Callable[[Item], None] = lambda item: None
) -> Generator[Item]:
    """The same items in the same order, made ahead of time by a thread, at most `depth` waiting.

    The thread alone iterates and closes `upstream`; an exception in it is raised here. Closing the result stops the
    thread, joins it and gives what still waited to `discard`. Depth 0 is the plain sequence, no thread.
    """
    if depth == 0:
        with closing(upstream):
            yield from upstream
        return
    waiting: queue.Queue[Item | _End] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(upstream, waiting, stop, discard), daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()
        while not waiting.empty():
            left = waiting.get()
            if not isinstance(left, _End):
                discard(left)


def _fill(
    upstream: Generator[Item], waiting: queue.Queue[Item | _End], stop: threading.Event, discard: Callable[[Item], None]
) -> None:
    end = _End(None)
    try:
        for item in upstream:
            if not _put(item, waiting, stop):
                discard(item)
                return
    except BaseException as error:  # noqa: BLE001 - carried to the consumer, whatever it is
        end = _End(error)
    finally:
        upstream.close()
        _put(end, waiting, stop)


def _put(item: Item | _End, waiting: queue.Queue[Item | _End], stop: threading.Event) -> bool:
    """Waits for room; False when the consumer has left."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_TICK)
            return True
        except queue.Full:
            continue
    return False
