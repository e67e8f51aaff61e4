"""A stream with sound, received, upscaled and recorded for a while: memory doesn't grow, sound doesn't drift.

A minute in `make test`; `make soak` takes SOAK_SECONDS, twenty minutes where that isn't set.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from claps import clapper, claps
from vsr.errors import Interrupted
from vsr.live.feeds import feed_of
from vsr.live.record import RecordSink, form_of
from vsr.live.run import Ends, run
from vsr.live.stream import StreamSource
from vsr.settings import EngineSettings, LiveSettings

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
SETTLED = 0.4  # of the run, after which buffers have their size
GROWTH = 12 << 20  # bytes in the rest of the run


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        number: int = port.getsockname()[1]
        return number


@pytest.mark.slow
def test_a_long_run_neither_grows_nor_drifts(tmp_path: Path) -> None:
    address = f"udp://127.0.0.1:{free_port()}"
    out, stats, said = tmp_path / "out.mkv", tmp_path / "stats.jsonl", list[str]()
    begin = time.monotonic()

    def due(seconds: float) -> None:
        time.sleep(max(0.0, begin + seconds - time.monotonic()))

    options = f"{address}?pkt_size=1316"
    sender = threading.Thread(target=clapper, args=(options, SECONDS + 20), kwargs={"size": (160, 90), "due": due})
    sender.daemon = True
    sender.start()
    source = StreamSource(feed_of(address, LiveSettings().limits), say=said.append)
    settings = LiveSettings(input=address, engine=EngineSettings(network="m4c8", streams=1))
    sink = RecordSink(str(out), form_of(str(out), overwrite=False), say=said.append)
    with pytest.raises(Interrupted):
        run(settings, Ends(source, sink), stats=stats, say=said.append,
            stop=lambda: 15 * (time.monotonic() > begin + SECONDS))  # fmt: skip
    check_memory([json.loads(line) for line in stats.read_text().splitlines()])
    check_sound(out)
    print(*said, sep="\n")


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
