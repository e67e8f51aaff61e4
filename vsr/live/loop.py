"""A live run: a thread captures, a thread upscales, the caller's thread shows; between them wait no more than a few.

What is watched (policy "newest") drops what something newer overtook; what is kept ("all") makes the network wait for
the sink, and drops at capture when that has been too slow for too long. All drops are counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from vsr.errors import Interrupted
from vsr.live.mailbox import Mailbox
from vsr.live.protocol import Captured, Shown, Sink, Snapshot, Sound, Source
from vsr.live.stage import LiveStage
from vsr.live.stats import TOTAL, Meter, resident
from vsr.report import Clock

DEPTHS = {"newest": 1, "all": 64}  # captured frames that may wait for the network
OLDEST = {"newest": 1, "all": 8}  # budgets after which a frame is late, and control goes down until the queue is short
RESULTS = {"newest": 1, "all": 2}  # that may wait for the sink
PACKETS = 1024  # of sound
TICK = 0.004  # seconds between two looks at the sink's events
PATIENCE = 10.0  # seconds a thread has to end


class Loop:
    """One run; `run` returns when the source ends, the sink is closed or `stop` says so. It is the sink's console.

    Args:
        stage: made with the same meter and log.
        stop: a signal's number, or 0 to go on.
        log: takes a line of JSON every second.
        clock: seconds; the one the source stamps frames with.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        stage: LiveStage,
        *,
        meter: Meter,
        log: Callable[[dict[str, Any]], None],
        stop: Callable[[], int] = lambda: 0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._source, self._sink, self._stage = source, sink, stage
        self._meter, self._log, self._stop, self._clock = meter, log, stop, clock
        self._captured: Mailbox[Captured] = Mailbox(DEPTHS[sink.policy])
        self._results: Mailbox[Shown] = Mailbox(RESULTS[sink.policy])
        self._sounds: Mailbox[Sound] = Mailbox(PACKETS)
        self._showing: Shown | None = None
        self._error: BaseException | None = None  # the first
        self._failed = threading.Lock()
        self._logged = 0.0

    def snapshot(self) -> Snapshot:
        return self._meter.snapshot(*self._stage.rung, self._stage.decision)

    def step(self, by: int) -> None:
        self._stage.step(by)

    def count(self, what: str, number: int = 1) -> None:
        self._meter.count(what, number)

    def run(self) -> None:
        """Raises what stopped it: the source's, the network's or the sink's error, whichever was first; Interrupted."""
        works = self._capture, self._upscale
        threads = [threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in works]
        try:
            self._sink.begin(self, self._source)
            for thread in threads:
                thread.start()
            self._show()
        except BaseException as error:  # noqa: BLE001 - raised below, once all is closed
            self._fail(error)
        self._end([thread for thread in threads if thread.ident is not None])
        if self._error is not None:
            raise self._error

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._failed:
            self._error = self._error or error

    def _capture(self) -> None:
        try:
            for item in self._source.frames():
                if isinstance(item, Sound):
                    self._meter.count("dropped sound", len(self._sounds.put(item)))
                    continue
                self._meter.count("captured")
                for late in self._captured.put(item):
                    late.frame.release()
                    self._meter.count("dropped while engines opened" if self._stage.opening else "dropped waiting")
                while not (self._stage.opened.wait(0.1) or self._captured.closed):
                    pass
        finally:
            self._captured.close()

    def _upscale(self) -> None:
        """Repeats tell what is watched nothing, so they push nothing out."""
        watched = self._sink.policy == "newest"
        try:
            while (captured := self._captured.take()) is not None:
                shown = self._stage.take(captured)
                if shown is None:
                    continue
                if watched and shown.repeated and len(self._results):
                    _release(shown)
                    continue
                for late in self._results.put(shown) if watched else self._results.offer(shown):
                    _release(late)
                    self._meter.count("dropped unshown")
        finally:
            self._results.close()

    def _show(self) -> None:
        while self._error is None and self._sink.wants():
            if signum := self._stop():
                raise Interrupted("interrupted", signum=signum)
            over, shown = self._results.done, self._results.take(TICK)
            while (sound := self._sounds.take(0)) is not None:
                self._sink.hear(sound)
            if shown is not None:
                self._show_one(shown)
            elif over:
                return
            else:
                self._sink.idle()
            self._log_second()

    def _show_one(self, shown: Shown) -> None:
        before, self._showing = self._showing, shown
        self._sink.show(shown)
        now = self._clock()
        self._meter.count("shown")
        if not shown.repeated:
            self._meter.took("show", now - shown.ready)
        if not shown.repeated and shown.at >= self._stage.since:
            self._meter.took(TOTAL, now - shown.at)
        if before is not None:
            _release(before)

    def _log_second(self) -> None:
        now = self._clock()
        if now - self._logged < 1:
            return
        self._logged = now
        counts = {"counts": dict(self._meter.counts), "resident": resident()}
        self._log({"kind": "second", "time": round(now, 3), **asdict(self.snapshot()), **counts})

    def _end(self, threads: list[threading.Thread]) -> None:
        """Closes everything, whatever fails meanwhile."""
        closings = (
            self._source.close,
            self._captured.close,
            self._results.close,
            *(lambda thread=thread: thread.join(PATIENCE) for thread in threads),
            self._give_back,
            self._sink.close,
            self._forget,
            self._stage.close,
        )
        for close in closings:
            self._guarded(close)

    def _give_back(self) -> None:
        while (captured := self._captured.take(0)) is not None:
            captured.frame.release()
        while (shown := self._results.take(0)) is not None:
            _release(shown)

    def _forget(self) -> None:
        last, self._showing = self._showing, None
        if last is not None:
            _release(last)


def _release(shown: Shown) -> None:
    shown.frame.release()
    shown.source.release()
