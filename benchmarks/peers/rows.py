"""All that are compared, in the order of the table."""

from __future__ import annotations

from pathlib import Path

import cv2

from benchmarks.peers import ffmpeg, onnx_runtime, opencv, pytorch
from benchmarks.peers.ours import Ours
from benchmarks.peers.peer import InProcess, Peer

MEASURE = "vsr m4c16"  # what the others are compared with: vsr's default on a CPU


def peers(models: Path | None) -> list[Peer]:
    """Those that aren't here too.

    Args:
        models: folder of the user's models: FSRCNN_x2.pb, FSRCNN-small_x2.pb and ESPCN_x2.pb for OpenCV's dnn_superres
            (.onnx from OpenCV 5 on), sr_x2.model or .pb for FFmpeg's sr, the folder raisr of Intel's filters.
    """
    return [
        *map(Ours, ("m4c16", "m4c8", "fsrcnn", "espcn")),
        ffmpeg.Filtered("ffmpeg bicubic", ffmpeg.scale("bicubic")),
        ffmpeg.Filtered("ffmpeg lanczos", ffmpeg.scale("lanczos")),
        ffmpeg.Filtered("ffmpeg sr", ffmpeg.sr(models), models),
        ffmpeg.Filtered("ffmpeg raisr", ffmpeg.raisr(models), models),
        InProcess("opencv cubic", opencv.resize(cv2.INTER_CUBIC)),
        InProcess("opencv lanczos4", opencv.resize(cv2.INTER_LANCZOS4)),
        InProcess("opencv dnn_superres fsrcnn", opencv.superres("fsrcnn", "FSRCNN", models)),
        InProcess("opencv dnn_superres fsrcnn-small", opencv.superres("fsrcnn", "FSRCNN-small", models)),
        InProcess("opencv dnn_superres espcn", opencv.superres("espcn", "ESPCN", models)),
        InProcess("opencv dnn, our fsrcnn", opencv.network("fsrcnn")),
        InProcess("opencv dnn, our espcn", opencv.network("espcn")),
        InProcess("torch m4c16 float32", pytorch.network("m4c16", "float32")),
        InProcess("torch m4c16 bf16", pytorch.network("m4c16", "bf16")),
        InProcess("torch fsrcnn float32", pytorch.network("fsrcnn", "float32")),
        InProcess("torch fsrcnn bf16", pytorch.network("fsrcnn", "bf16")),
        InProcess("onnxruntime m4c16 float32", onnx_runtime.network("m4c16", "float32")),
        InProcess("onnxruntime m4c16 int8", onnx_runtime.network("m4c16", "int8")),
        InProcess("onnxruntime fsrcnn float32", onnx_runtime.network("fsrcnn", "float32")),
    ]
