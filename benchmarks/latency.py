"""How old a picture is at every stage of vsr-live: python -m benchmarks.latency [--seconds S] [--out FILE]

Under Xvfb a window shows a clock (benchmarks/clock.py), vsr-live's own loop captures and upscales it, and the clock is
read again where pictures are captured, converted, upscaled, shown, and from the second window grabbed back. Only the
first sight of a clock's picture counts: one that is captured again is older by no fault of ours. Once without a window
(the figures of capture and network), once with one; on a machine without a GPU that is software OpenGL, which takes
the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clock import TITLE, read
from benchmarks.screen import xvfb
from vsr.bench.machine import machine
from vsr.errors import InputError
from vsr.live.capture import ScreenSource
from vsr.live.grab import Missed, Place, X11Grab
from vsr.live.protocol import Captured, Console, Policy, Shown, Sink, Sound, Source
from vsr.live.run import Ends, run
from vsr.live.sinks import NullSink
from vsr.live.window import Window
from vsr.live.x11 import Display
from vsr.settings import EngineSettings, LiveSettings

STAGES = ("captured", "converted", "upscaled", "shown", "grabbed back")
BARS = {"p50": 20.0, "p95": 33.0}  # ms from captured to upscaled, two idle cores, 640x360 at 30 a second, m4c16
WARM_UP = 2.0  # seconds after the first result that don't count
BACK_RATE = 120  # frames a second in which the second window is looked at


class Sightings:
    """When each picture of the clock was first seen at each stage; from any thread."""

    def __init__(self) -> None:
        self._first: dict[str, dict[int, float]] = {stage: {} for stage in STAGES}
        self.looks = self.unread = 0

    def see(self, stage: str, stamp: int | None, at: float) -> None:
        self.looks += 1
        if stamp is None:
            self.unread += 1
        else:
            self._first[stage].setdefault(stamp, at)

    def ages(self, since: float) -> dict[str, dict[str, float]]:
        """Milliseconds by stage, and from captured to upscaled, of pictures painted after `since`."""
        kept = {
            stage: {stamp: at for stamp, at in seen.items() if stamp / 1e6 >= since}
            for stage, seen in self._first.items()
        }
        spans = {stage: [at - stamp / 1e6 for stamp, at in seen.items()] for stage, seen in kept.items()}
        pairs = [(kept["captured"].get(stamp), at) for stamp, at in kept["upscaled"].items()]
        spans["captured to upscaled"] = [at - captured for captured, at in pairs if captured is not None]
        return {name: spread(values) for name, values in spans.items() if values}


def spread(seconds: list[float]) -> dict[str, float]:
    values = 1000 * np.array(seconds)
    shares = {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (50, 95, 99)}
    return shares | {"mean": round(float(values.mean()), 2), "count": len(values)}


class TappedSource:
    """A source whose frames are read on their way."""

    def __init__(self, source: ScreenSource, sightings: Sightings) -> None:
        self._source, self._sightings = source, sightings
        self.label, self.rate, self.sound = source.label, source.rate, None

    def frames(self) -> Iterator[Captured | Sound]:
        for captured in self._source.frames():
            now, stamp = time.monotonic(), read(captured.frame.planes[0])
            self._sightings.see("captured", stamp, captured.at)
            self._sightings.see("converted", stamp, now)
            yield captured

    def close(self) -> None:
        self._source.close()


class TappedSink:
    """A sink whose results are read, for so many seconds after the first."""

    policy: Policy = "newest"

    def __init__(self, sink: Sink, sightings: Sightings, seconds: float, scale: int) -> None:
        self._sink, self._sightings, self._scale = sink, sightings, scale
        self._seconds, self.label = seconds, sink.label
        self.began: float | None = None

    def begin(self, console: Console, source: Source) -> None:
        self._sink.begin(console, source)

    def hear(self, sound: Sound) -> None: ...

    def show(self, shown: Shown) -> None:
        self._sink.show(shown)
        now = time.monotonic()
        self.began = self.began or now
        if not shown.repeated:
            stamp = read(shown.frame.planes[0], self._scale)
            self._sightings.see("upscaled", stamp, shown.ready)
            self._sightings.see("shown", stamp, now)

    def idle(self) -> None:
        self._sink.idle()

    def wants(self) -> bool:
        over = self.began is not None and time.monotonic() - self.began > self._seconds
        return self._sink.wants() and not over

    def close(self) -> None:
        self._sink.close()


@contextmanager
def watched(display: str, sightings: Sightings, scale: int) -> Iterator[None]:
    """Reads the clock in the second window, from another connection, until left."""
    stop = threading.Event()
    thread = threading.Thread(target=_look, args=(display, sightings, scale, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def _look(name: str, sightings: Sightings, scale: int, stop: threading.Event) -> None:
    """Until stopped or the window is closed."""
    display = Display(name)
    w = None
    while w is None and not stop.wait(0.1):
        w = next((w for w in display.windows() if w.title.startswith("vsr: ")), None)
    display.close()
    if w is None:
        return
    grab = X11Grab(name, Place(w.id, 0, 0, w.width, w.height, w.x, w.y, True), BACK_RATE, cursor=False)
    while not stop.is_set():
        try:
            picture = grab.grab()
        except Missed:  # closed
            break
        now = time.monotonic()
        rows = np.frombuffer(picture.planes[0], np.uint8).reshape(picture.height, -1)
        sightings.see("grabbed back", read(rows[:, 1 : 4 * picture.width : 4], scale), now)
    grab.close()


def measured(display: str, options: argparse.Namespace, *, window: bool) -> dict[str, Any]:
    """One run: figures by stage, and what was said."""
    settings = LiveSettings(
        window=TITLE, engine=EngineSettings(network=options.network, scale=options.scale, streams=1), fixed=True
    )
    connection, sightings, said = Display(display), Sightings(), list[str]()
    source = ScreenSource(connection, found(connection), rate=options.capture_rate, say=said.append)
    shown: Sink = Window(vsync=False, figures=False) if window else NullSink()
    sink = TappedSink(shown, sightings, options.seconds + WARM_UP, options.scale)
    ends = Ends(TappedSource(source, sightings), sink)
    if window:
        with watched(display, sightings, options.scale):
            run(settings, ends, say=said.append)
    else:
        run(settings, ends, say=said.append)
    connection.close()
    ages = sightings.ages((sink.began or 0.0) + WARM_UP)
    painted = round(options.seconds * options.rate)
    counts = {"painted": painted, "looks": sightings.looks, "unread": sightings.unread}
    return {**counts, "ages_ms": ages, "said": said, "load": os.getloadavg()}


def found(display: Display) -> int:
    """The clock's window, once it is there."""
    for _ in range(100):
        try:
            return display.find(f"^{TITLE}$").id
        except InputError:
            time.sleep(0.1)
    raise SystemExit("the clock's window didn't open")


def told(result: dict[str, Any]) -> str:
    lines = [f"{'':22}{'p50':>9}{'p95':>9}{'p99':>9}{'pictures':>10}   ms"]
    for name, ages in result["ages_ms"].items():
        lines.append(f"{name:22}{ages['p50']:9.1f}{ages['p95']:9.1f}{ages['p99']:9.1f}{ages['count']:10}")
    return "\n".join([*lines, f"{result['painted']} pictures painted, load {result['load'][0]:.1f}", *result["said"]])


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else "")
    p.add_argument("--size", default="640x360")
    p.add_argument("--rate", type=Fraction, default=Fraction(30), help="pictures a second that are painted")
    p.add_argument("--capture-rate", type=int, default=60, help="frames a second that are captured, as vsr-live does")
    p.add_argument("--seconds", type=float, default=30.0)
    p.add_argument("--network", default="m4c16")
    p.add_argument("--scale", type=int, default=2)
    p.add_argument("--no-window", action="store_true", help="capture and network only")
    p.add_argument("--out", type=Path, help="JSON")
    options = p.parse_args()
    with xvfb("1920x1200") as display:
        os.environ["DISPLAY"] = display
        command = ["--display", display, "--size", options.size, "--rate", str(float(options.rate))]
        clock = subprocess.Popen([sys.executable, "-m", "benchmarks.clock", *command])
        try:
            results = {"no window": measured(display, options, window=False)}
            if not options.no_window:
                results["window"] = measured(display, options, window=True)
        finally:
            clock.terminate()
            clock.wait(30)
    for name, result in results.items():
        print(f"\n{name}\n{told(result)}")
    ready = results["no window"]["ages_ms"].get("captured to upscaled", {})
    held = bool(ready) and all(ready[share] <= bar for share, bar in BARS.items())
    print(f"\ncaptured to upscaled: {'within' if held else 'over'} {BARS} ms (meant for two idle cores)")
    if options.out:
        asked = {name: str(value) for name, value in vars(options).items() if name != "out"}
        record = {"machine": machine(), "options": asked, "bars_ms": BARS, "held": held, "runs": results}
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
