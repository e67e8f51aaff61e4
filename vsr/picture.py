"""Single pictures as arrays: what kinds there are, and their way to planes and back."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from vsr.frame import Chroma, PlanarFormat, Planes

Picture = npt.NDArray[Any]


def split(picture: Picture) -> Planes:
    """Y, Cr, Cb of BGR. Raises ValueError for what isn't such a picture."""
    import cv2

    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"a picture is grey (rows, columns), BGR (rows, columns, 3) or a tuple of planes, uint8 or uint16; "
            f"not {picture.dtype} {picture.shape}"
        )
    return cast(Planes, tuple(cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb))))


def joined(planes: Planes) -> Picture:
    """BGR of Y, Cr, Cb."""
    import cv2

    return cv2.cvtColor(cv2.merge(planes), cv2.COLOR_YCrCb2BGR)


def format_of(planes: Planes, depth: int | None) -> PlanarFormat:
    """The format a tuple of planes has. Raises ValueError where it has none."""
    kinds = {plane.dtype for plane in planes}
    if len(planes) not in (1, 3) or kinds not in ({np.dtype(np.uint8)}, {np.dtype(np.uint16)}):
        raise ValueError("planes are (Y, U, V), all uint8 or all uint16")
    bits = depth or 8 * planes[0].itemsize
    if (bits == 8) != (planes[0].itemsize == 1):
        raise ValueError(f"{planes[0].dtype} doesn't hold samples of {bits} bits")
    chromas: list[Chroma] = ["grey"] if len(planes) == 1 else ["444", "422", "420"]
    for chroma in chromas:
        format = PlanarFormat(chroma=chroma, depth=bits)
        rows, columns = planes[0].shape
        if tuple(plane.shape for plane in planes) == format.shapes(columns, rows):
            return format
    raise ValueError(f"planes of {', '.join(str(plane.shape) for plane in planes)} are no 4:2:0, 4:2:2 or 4:4:4")
