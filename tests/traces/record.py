"""Makes the traces of this folder: real runs of the live loop beside programs that take the processor away.

    python tests/traces/record.py hog [--size 256x144] [--rate 30] [--network m4c16]

A trace is what `vsr-live --stats` writes, without the lines of every second. README.md says where these came from.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsr.frame import Frame, FramePool, PlanarFormat
from vsr.live.protocol import Captured, Sound
from vsr.live.run import Ends, run
from vsr.live.sinks import NullSink
from vsr.settings import EngineSettings, LiveSettings

FORMAT = PlanarFormat()
HOGS = 6
KEPT = ("rungs", "frame", "decision", "step")

# Seconds from the start at which so many hogs run.
SCHEDULES: dict[str, list[tuple[float, int]]] = {
    "steady": [(20, 0)],
    "hog": [(6, 0), (8, 6), (16, 0)],
    "sawtooth": [(3, 0), (3, 6), (4, 0), (3, 6), (4, 0), (3, 6), (8, 0)],
    "drift": [(5, 0), (4, 1), (4, 2), (4, 3), (4, 4), (4, 6)],
    "bursts": [(1.9, 0), (0.15, 6)] * 10,
}


class Noise:
    """Frames of noise at a constant rate, each another one."""

    label, sound = "noise", None

    def __init__(self, width: int, height: int, rate: int, seconds: float) -> None:
        self.rate: Fraction | None = Fraction(rate)
        self._count, self._size, self._pool = round(rate * seconds), (width, height), FramePool(FORMAT, width, height)
        noise = np.random.default_rng(0).integers(0, 255, FORMAT.nbytes(width, height) + 4096, np.uint8)
        self._noise, self._closed = noise, threading.Event()

    def frames(self) -> Iterator[Captured | Sound]:
        begin = time.monotonic()
        for number in range(self._count):
            self._closed.wait(max(0, begin + number / float(self.rate or 1) - time.monotonic()))
            if self._closed.is_set():
                return
            planes, lease = self._pool.take()
            lease.buffer[:] = self._noise[number % 4096 :][: lease.buffer.size]
            width, height = self._size
            frame = Frame(format=FORMAT, width=width, height=height, planes=planes, pts=number, lease=lease)
            yield Captured(frame, time.monotonic(), number)

    def close(self) -> None:
        self._closed.set()


def burn(wanted: list[int], number: int, ended: threading.Event) -> None:
    """One hog: works while so many are wanted. NumPy computes outside the interpreter's lock."""
    block = np.ones((300, 300))
    while not ended.is_set():
        if number < wanted[0]:
            block @ block
        else:
            ended.wait(0.005)


def beside(schedule: list[tuple[float, int]], ended: threading.Event) -> None:
    """Hogs, so many at a time as the schedule says."""
    wanted = [0]
    hogs = [threading.Thread(target=burn, args=(wanted, number, ended)) for number in range(HOGS)]
    for hog in hogs:
        hog.start()
    for seconds, wanted[0] in schedule:
        ended.wait(seconds)
    wanted[0] = 0
    for hog in hogs:
        hog.join()


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=SCHEDULES)
    parser.add_argument("--size", default="256x144")
    parser.add_argument("--rate", type=int, default=30)
    parser.add_argument("--network", default="m4c16")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    schedule, ended = SCHEDULES[args.name], threading.Event()
    seconds = sum(seconds for seconds, _ in schedule)
    settings = LiveSettings(input="noise", engine=EngineSettings(network=args.network, streams=1))
    path = Path(__file__).with_name(f"{args.name}.jsonl")
    hogs = threading.Thread(target=beside, args=(schedule, ended))
    hogs.start()
    run(settings, Ends(Noise(width, height, args.rate, seconds), NullSink()), stats=path, say=say)
    ended.set()
    hogs.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines if line["kind"] in KEPT))


if __name__ == "__main__":
    main()
