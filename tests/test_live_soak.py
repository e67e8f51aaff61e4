"""A stream with sound, received, upscaled and recorded for a while: memory doesn't grow, sound doesn't drift.

A minute in `make test`; `make soak` takes SOAK_SECONDS, twenty minutes where that isn't set.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from claps import clapper, claps
from vsr.errors import Interrupted
from vsr.live.feeds import feed_of
from vsr.live.record import RecordSink, form_of
from vsr.live.run import Ends, run
from vsr.live.stream import StreamSource
from vsr.settings import EngineSettings, Limits, LiveSettings

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
SETTLED = 0.4  # of the run, after which buffers have their size
GROWTH = 12 << 20  # bytes in the rest of the run


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        number: int = port.getsockname()[1]
        return number


def from_now() -> Callable[[float], None]:
    """Waits until so many seconds have passed."""
    begin = time.monotonic()
    return lambda seconds: time.sleep(max(0.0, begin + seconds - time.monotonic()))


@pytest.mark.slow
def test_a_long_run_neither_grows_nor_drifts(tmp_path: Path) -> None:
    address = f"udp://127.0.0.1:{free_port()}"
    out, stats, said = tmp_path / "out.mkv", tmp_path / "stats.jsonl", list[str]()
    begin = time.monotonic()
    words = {"target": f"{address}?pkt_size=1316", "seconds": SECONDS + 20, "size": (160, 90), "due": from_now()}
    threading.Thread(target=clapper, kwargs=words, daemon=True).start()
    source = StreamSource(feed_of(address, LiveSettings().limits), say=said.append)
    settings = LiveSettings(input=address, engine=EngineSettings(network="m4c8", streams=1))
    sink = RecordSink(str(out), form_of(str(out), overwrite=False), say=said.append)
    with pytest.raises(Interrupted):
        run(settings, Ends(source, sink), stats=stats, say=said.append,
            stop=lambda: 15 * (time.monotonic() > begin + SECONDS))  # fmt: skip
    check_memory([json.loads(line) for line in stats.read_text().splitlines()])
    check_sound(out)
    print(*said, sep="\n")


@pytest.mark.slow
def test_a_stream_that_breaks_off_is_joined_and_sound_stays_in_step(tmp_path: Path) -> None:
    """Six seconds, a silence of three, six seconds whose times begin anew."""
    address, out, said = f"udp://127.0.0.1:{free_port()}", tmp_path / "out.mkv", list[str]()
    ended = threading.Event()

    def sent() -> None:
        for wait in (3.0, 0.0):
            clapper(f"{address}?pkt_size=1316", 6, size=(160, 90), due=from_now())
            time.sleep(wait)
        ended.set()

    threading.Thread(target=sent, daemon=True).start()
    source = StreamSource(feed_of(address, Limits(timeout=1)), limits=Limits(timeout=1), say=said.append)
    settings = LiveSettings(input=address, engine=EngineSettings(network="m4c8", streams=1))
    sink = RecordSink(str(out), form_of(str(out), overwrite=False), say=said.append)
    with pytest.raises(Interrupted):
        run(settings, Ends(source, sink), say=said.append, stop=lambda: 15 * ended.is_set())
    print(*said, sep="\n")
    assert sum("connected again" in line for line in said) == 1
    flashes, bangs = claps(out)
    print("flashes", *(f"{flash:.2f}" for flash in flashes), "tones", *(f"{bang:.2f}" for bang in bangs))
    distances = [min((bang - flash for bang in bangs), key=abs) for flash in flashes]
    near = [distance for distance in distances if abs(distance) < 0.4]
    assert len(near) >= 6  # of ten: a connection begins at a key frame
    assert np.median(np.abs(near[-4:])) < 0.05
    assert max(map(abs, near)) < 0.2  # a busy machine may drop the first of the white pictures
    assert max(later - sooner for sooner, later in pairwise(bangs)) > 3  # the silence counts


def check_memory(lines: list[dict[str, float]]) -> None:
    """The slope of resident memory by least squares, once buffers have their size."""
    seconds = [(line["time"], line["resident"]) for line in lines if line["kind"] == "second"]
    times, resident = np.array(seconds[int(SETTLED * len(seconds)) :]).T
    slope = np.polyfit(times - times[0], resident, 1)[0]
    print(f"memory: {resident[0] / 2**20:.0f} to {resident[-1] / 2**20:.0f} MiB, {slope * 60 / 2**20:.2f} MiB a minute")
    assert slope * (times[-1] - times[0]) < GROWTH


def check_sound(out: Path) -> None:
    """The distance between the picture's claps and the sound's, early and late."""
    flashes, bangs = claps(out)
    nearest = np.array([min((bang - flash for bang in bangs), key=abs) for flash in flashes])
    seen = nearest[np.abs(nearest) < 0.4]  # of others the sound was lost on its way
    assert len(seen) > 0.5 * SECONDS
    quarter = len(seen) // 4
    early, late = float(np.median(seen[:quarter])), float(np.median(seen[-quarter:]))
    print(f"sound: {1000 * early:.0f} ms after the picture early, {1000 * late:.0f} ms late")
    assert abs(late - early) < 1 / 30
    assert abs(early) < 0.1
