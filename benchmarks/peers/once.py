"""One peer, in this process: python -m benchmarks.peers.once < ORDER > OUTCOME

Both are JSON. What can't be had is one line on standard error, and exit code 1.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np

from benchmarks.peers.peer import Clip, Peer, Stopwatch
from benchmarks.peers.rows import peers
from vsr.errors import Unavailable, VsrError
from vsr.meter import Meter


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to do.

    Args:
        seconds: from the first frame on, after which a timed run ends.
        models: folder of the user's models, or None.
    """

    work: Literal["time", "judge"]
    peer: str
    clip: Clip
    seconds: float = 0.0
    models: str | None = None


@dataclass(frozen=True, kw_only=True)
class Timed:
    """`frames` frames after the first one, at `fps`."""

    engine: str
    fps: float
    frames: int
    peak_mib: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Luma, means over the frames of the clip's truth; by the papers' protocol."""

    psnr: float
    ssim: float


def timed(peer: Peer, order: Order) -> Timed:
    watch = Stopwatch(order.seconds)
    ran = peer.timed(order.clip, watch)
    return Timed(engine=ran.engine, fps=watch.fps, frames=watch.frames, peak_mib=round(ran.peak_mib, 1))


def judged(peer: Peer, clip: Clip) -> Judged:
    truth, meter = np.load(clip.truth), Meter(border=clip.scale)
    lumas = peer.lumas(clip, len(truth))
    for number, (wanted, given) in enumerate(zip(truth, lumas, strict=True)):
        if given.shape != wanted.shape:
            raise Unavailable(f"gave frames of {given.shape[1]}x{given.shape[0]}")
        meter.add(number, wanted, given)
    return Judged(psnr=fmean(meter.scores.psnr), ssim=fmean(meter.scores.ssim))


def main() -> int:
    given: dict[str, Any] = json.load(sys.stdin)
    order = Order(**given | {"clip": Clip(**given["clip"])})
    folder = None if order.models is None else Path(order.models)
    peer = next(each for each in peers(folder) if each.name == order.peer)
    try:
        outcome = timed(peer, order) if order.work == "time" else judged(peer, order.clip)
    except VsrError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(outcome)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
