"""One body layer in the ways torch has for it: what bias, ReLU and memory layout cost next to the convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu.floors import HALF
from benchmarks.gpu.peers import runner
from benchmarks.gpu.timing import interleaved

CHANNELS = (8, 16, 32, 64)


def measured(found: dict[str, Any], device: str, size: tuple[int, int], seconds: float) -> None:
    """Enters, by channels and way, milliseconds and bytes a second; or why it doesn't run here.

    Bytes are those of one reading and one writing of the activations, whatever the way really moves.
    """
    for channels in CHANNELS:
        ways = {}
        for name, way in _ways(channels, size, device).items():
            try:
                ways[name] = runner(way, device, capture=True)
                ways[name](1)
            except RuntimeError as error:
                ways.pop(name, None)
                found[f"{name}, {channels} channels"] = {"error": str(error).splitlines()[0]}
        nbytes = 2 * HALF * channels * size[0] * size[1]
        for name, times in interleaved(ways, seconds / len(CHANNELS) / max(1, len(ways)), rounds=3).items():
            rate = nbytes / times["ms"] * 1000
            found[f"{name}, {channels} channels"] = {"ms": times["ms"], "bytes_per_second": rate}


def _ways(channels: int, size: tuple[int, int], device: str) -> dict[str, Callable[[], Tensor]]:
    dtype = torch.float16
    planar = torch.randn(1, channels, *size, dtype=dtype, device=device)
    kernel = torch.randn(channels, channels, 3, 3, dtype=dtype, device=device) / (9 * channels) ** 0.5
    bias = torch.randn(channels, dtype=dtype, device=device)
    last, kernel_last = (t.contiguous(memory_format=torch.channels_last) for t in (planar, kernel))
    one = [1, 1]
    return {
        "channels first, convolution, bias, relu": lambda: functional.conv2d(planar, kernel, bias).relu_(),
        "channels last, convolution alone": lambda: functional.conv2d(last, kernel_last),
        "channels last, convolution and bias": lambda: functional.conv2d(last, kernel_last, bias),
        "channels last, convolution, bias, relu": lambda: functional.conv2d(last, kernel_last, bias).relu_(),
        "channels last, fused": lambda: torch.cudnn_convolution_relu(last, kernel_last, bias, one, [0, 0], one, 1),
    }
