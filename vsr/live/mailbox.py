"""What waits between two threads, and never more than so much."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """At most `depth` items; depth 1 keeps the newest alone. Closed, it gives out what it has and no more."""

    def __init__(self, depth: int) -> None:
        self._depth, self._closed = depth, False
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()

    def put(self, item: Item) -> list[Item]:
        """Adds an item; what is pushed out for it, oldest first, or the item itself where the box is closed."""
        with self._changed:
            if self._closed:
                return [item]
            out = [self._items.popleft()] if len(self._items) == self._depth else []
            self._items.append(item)
            self._changed.notify_all()
            return out

    def offer(self, item: Item) -> list[Item]:
        """Adds an item once there is room for it; the item itself where the box is closed before."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            return [item] if self._closed else self._added(item)

    def take(self, timeout: float | None = None) -> Item | None:
        """The oldest item; None after `timeout` seconds without one, or where the box is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items, timeout)
            if not self._items:
                return None
            self._changed.notify_all()
            return self._items.popleft()

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed

    @property
    def done(self) -> bool:
        """Closed and empty: nothing will come any more."""
        with self._changed:
            return self._closed and not self._items

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _added(self, item: Item) -> list[Item]:
        self._items.append(item)
        self._changed.notify_all()
        return []
