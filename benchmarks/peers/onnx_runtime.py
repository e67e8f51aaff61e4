"""ONNX Runtime on the CPU, with vsr's description of luma: 8-bit samples in, 8-bit samples out."""

from __future__ import annotations

from collections.abc import Callable

import cv2

from benchmarks.peers.ours import shipped
from benchmarks.peers.peer import CORES, Clip, Upscale, resized
from vsr.errors import Unavailable
from vsr.frame import PlanarFormat, Planes
from vsr.graph import FrameSpec, describe
from vsr.models import Exact, load


def network(name: str, precision: Exact) -> Callable[[Clip], tuple[Upscale, str]]:
    def open(clip: Clip) -> tuple[Upscale, str]:
        try:
            import onnxruntime  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise Unavailable("no onnxruntime: pip install onnxruntime") from error
        spec = FrameSpec(format=PlanarFormat(), width=clip.width, height=clip.height)
        described = describe(load(shipped(name, clip.scale, precision)), spec, part="luma")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = CORES
        session = onnxruntime.InferenceSession(
            described.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

        def upscale(planes: Planes) -> Planes:
            luma, *chroma = planes
            up = session.run(None, {"y": luma[None, None]})[0][0, 0]
            return up, *(resized(plane, clip.scale, cv2.INTER_CUBIC) for plane in chroma)

        return upscale, f"onnxruntime {onnxruntime.__version__} {precision}"

    return open
