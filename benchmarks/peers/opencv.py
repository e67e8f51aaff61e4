"""OpenCV: plain resizing, its module for super-resolution, and its network library with models of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.ours import shipped
from benchmarks.peers.peer import CORES, Clip, Upscale, resized, with_chroma
from vsr.errors import Unavailable
from vsr.frame import Plane, Planes
from vsr.models import load

Open = Callable[[Clip], tuple[Upscale, str]]
SUFFIXES = (".pb", ".onnx")  # up to OpenCV 4, and later


def resize(interpolation: int) -> Open:
    def open(clip: Clip) -> tuple[Upscale, str]:
        return lambda planes: tuple(resized(plane, clip.scale, interpolation) for plane in planes), _ready()

    return open


def superres(algorithm: str, stem: str, folder: Path | None) -> Open:
    """dnn_superres with the user's model; luma is given to it as a grey picture, which it takes."""

    def open(clip: Clip) -> tuple[Upscale, str]:
        engine, module = _ready(), cast(Any, getattr(cv2, "dnn_superres", None))
        if module is None:
            raise Unavailable("this OpenCV has no dnn_superres: pip install opencv-contrib-python-headless instead")
        names = [f"{stem}_x{clip.scale}{suffix}" for suffix in SUFFIXES]
        files = [folder / name for name in names if folder is not None and (folder / name).is_file()]
        if not files:
            raise Unavailable(f"no model: --models names a folder with {' or '.join(names)}")
        model = module.DnnSuperResImpl_create()
        try:
            model.readModel(str(files[0]))
        except cv2.error as error:
            raise Unavailable(f"{engine} doesn't read {files[0].name}: {error.err}") from error
        model.setModel(algorithm, clip.scale)

        def upscale(planes: Planes) -> Planes:
            luma, *chroma = planes
            return model.upsample(luma), *(resized(plane, clip.scale, cv2.INTER_CUBIC) for plane in chroma)

        return upscale, f"{engine} float32"

    return open


def network(name: str) -> Open:
    """A network of ours in cv2.dnn, on its default backend."""

    def open(clip: Clip) -> tuple[Upscale, str]:
        engine = _ready()
        model = load(shipped(name, clip.scale)).proto
        net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))

        def luma(plane: Plane) -> NDArray[np.float32]:
            net.setInput(cv2.dnn.blobFromImage(plane, 1 / 255))
            return cast(NDArray[np.float32], net.forward()[0, 0])

        return with_chroma(luma, clip.scale), f"{engine} float32"

    return open


def _ready() -> str:
    cv2.setNumThreads(CORES)
    return f"opencv {cv2.__version__}"
