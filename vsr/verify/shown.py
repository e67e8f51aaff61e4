"""Does each decoded frame show the picture that was encoded at its place?

Thresholds were chosen on pictures with little, much and no movement, noise, fades and flashes, coded by x264, x265, VP9
and SVT-AV1 from nearly lossless to their worst quality. The coarser a file is coded, the more is let pass.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vsr.signature import GRID, Signatures
from vsr.verify.recording import Recording

Shown = tuple[int, bytes]  # pts in the file, signature
REACH = 16  # frames before and after that a picture may be mistaken for
COARSEST = 4.0  # 8-bit codes; a file whose pictures are all farther off than this isn't coarse but wrong
MOVED = (4.0, 12.0)  # codes by which another frame may be nearer than the own one; per code of coarseness
BLOCK = (16.0, 16.0)  # codes by which a block may be off; per code of coarseness


def check_shown(shown: Sequence[Shown], planned: Signatures, found: Recording, wrong: list[str]) -> bool:
    """Whether pictures could be compared; names the first one that isn't what was encoded there.

    Args:
        shown: decoded frames, in order within each group.
        planned: signatures of all frames that were encoded.
        found: the picture track.
    """
    if not shown or len(planned) != len(found.ticks):
        return False
    frames = _places(shown, found)
    bad = differing(frames, codes(b"".join(signature for _, signature in shown)), codes(planned.in_order()))
    if len(bad):
        first = f"the first is frame {bad[0]} at {float(found.ticks[bad[0]] * found.tick):.3f} s"
        wrong.append(f"{len(bad)} of {len(shown)} decoded pictures aren't those encoded, {first}")
    return True


def _places(shown: Sequence[Shown], found: Recording) -> npt.NDArray[np.int64]:
    """Number of each decoded frame in the track; those that a coarse tick gives the same time follow each other."""
    places: list[int] = []
    for number, (pts, _) in enumerate(shown):
        again = number > 0 and shown[number - 1][0] == pts
        places.append(places[-1] + 1 if again else bisect_left(found.ticks, pts))
    return np.array(places)


def differing(
    frames: npt.NDArray[np.int64], shown: npt.NDArray[np.int16], planned: npt.NDArray[np.int16]
) -> npt.NDArray[np.int64]:
    """Those of `frames` whose signature isn't theirs: another frame's is clearly nearer, or a block is far off."""
    off = np.abs(shown - planned[frames])
    own = off.mean(axis=1)
    nearest = own.copy()
    for lag in range(-REACH, REACH + 1):
        other = planned[np.clip(frames + lag, 0, len(planned) - 1)]
        np.minimum(nearest, np.abs(shown - other).mean(axis=1), out=nearest)
    coarse = min(float(np.median(nearest)), COARSEST)
    moved = own - nearest > MOVED[0] + MOVED[1] * coarse
    broken = off.max(axis=1) > BLOCK[0] + BLOCK[1] * coarse
    bad: npt.NDArray[np.int64] = frames[moved | broken]
    return bad


def codes(signatures: bytes) -> npt.NDArray[np.int16]:
    """(frames, 64) of signatures one after the other."""
    return np.frombuffer(signatures, np.uint8).reshape(-1, GRID * GRID).astype(np.int16)
