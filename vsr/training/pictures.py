"""Folders of pictures: their luma, which are held out, whose they are.

Folders whose name contains "luma" hold luma already; other pictures are converted by `metrics.luma`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vsr.errors import InputError
from vsr.metrics import luma

Plane = NDArray[np.uint8]

HOLDOUT_EVERY = 50  # one picture in so many is kept for the validation curve
TERMS = {  # by folder name: the licence as the pictures' source states it
    "T91": "none stated; research use",
    "BSDS400": "BSDS500 train and test; research use",
    "DIV2K_luma181": "DIV2K; academic use",
    "CID22": "CC BY-SA 4.0",
    "CLIC2025": "Unsplash licence",
    "photos": "CC0, CC BY-SA and Unsplash licences; one unstated",
    "games_screens": "GPL, AGPL and MIT projects; some unstated",
}
SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".bmp")


def pictures(folder: Path) -> list[Path]:
    """All picture files under `folder`, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"{folder}: no pictures ({', '.join(SUFFIXES)}); give a folder that holds some")
    return found


def holdout_places(count: int) -> range:
    """Which places in a list of so many `pictures` are kept for validation: at least one."""
    return range(min(HOLDOUT_EVERY // 2, count - 1), count, HOLDOUT_EVERY)


def with_holdout(folder: Path) -> list[tuple[Path, bool]]:
    """All pictures under `folder` and which are kept for validation. Raises InputError unless there are two or more."""
    found = pictures(folder)
    if len(found) < 2:
        raise InputError(f"{folder}: one picture only, and one is kept to validate by; give two or more")
    return [(path, index in holdout_places(len(found))) for index, path in enumerate(found)]


def sources(folder: Path) -> list[dict[str, str]]:
    """Name and terms of the sets under `folder`, for model cards."""
    names = sorted({path.relative_to(folder).parts[0] for path in pictures(folder)})
    return [{"name": name, "terms": TERMS.get(name, "unstated")} for name in names]


def read_luma(path: Path) -> Plane:
    """The picture's 8-bit luma."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"{path}: not a readable picture; remove it or convert it to PNG")
    colour = np.asarray(bgr, np.uint8)
    return colour[:, :, 0] if "luma" in path.parent.name else luma(colour[:, :, ::-1])
