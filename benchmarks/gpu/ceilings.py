"""What the machine can do at most, measured in the same run: copies on the device, by bus and in memory, products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.timing import Run, interleaved


@dataclass(frozen=True)
class Sizes:
    """Large enough to leave every cache; smaller for a dry run."""

    copy: int = 4 << 30  # bytes on the device
    bus: int = 256 << 20  # bytes between host and device
    product: int = 8192  # rows and columns


TOY = Sizes(copy=1 << 20, bus=1 << 18, product=64)


def measured(device: str, sizes: Sizes, seconds: float) -> dict[str, Any]:
    """Bytes and operations a second, the median of interleaved rounds; a copy on the device counts read and written."""
    ways, amounts = _ways(device, sizes)
    times = interleaved(ways, seconds, rounds=3)
    return {name: 1000 * amounts[name] / one["ms"] for name, one in times.items()} | {"times": times}


def _ways(device: str, sizes: Sizes) -> tuple[dict[str, Run], dict[str, int]]:
    pinned = device == "cuda"
    source = torch.randint(0, 256, (sizes.copy,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    factors = [torch.randn(sizes.product, sizes.product, dtype=torch.float16, device=device) for _ in range(2)]
    near = [torch.randint(0, 256, (sizes.bus,), dtype=torch.uint8, pin_memory=pinned) for _ in range(2)]
    far = [torch.empty(sizes.bus, dtype=torch.uint8, device=device) for _ in range(2)]
    plain, other = np.random.default_rng(0).integers(0, 256, (2, sizes.bus), np.uint8)
    streams = [torch.cuda.Stream() for _ in range(2)] if device == "cuda" else []

    def both() -> None:
        for stream, copy in zip(streams, (_copy(far[0], near[0]), _copy(near[1], far[1])), strict=True):
            with torch.cuda.stream(stream):
                copy()

    ways: dict[str, Callable[[], object]] = {
        "copied": _copy(target, source),
        "multiplied": lambda: torch.mm(*factors),
        "uploaded": _copy(far[0], near[0]),
        "downloaded": _copy(near[1], far[1]),
        "copied_by_cpu": lambda: np.copyto(other, plain),
    }
    amounts = {"copied": 2 * sizes.copy, "multiplied": 2 * sizes.product**3, "uploaded": sizes.bus}
    amounts |= {"downloaded": sizes.bus, "copied_by_cpu": sizes.bus}
    if streams:
        ways["both_ways"], amounts["both_ways"] = both, 2 * sizes.bus
    return {name: _repeated(way, device) for name, way in ways.items()}, amounts


def _copy(target: torch.Tensor, source: torch.Tensor) -> Callable[[], object]:
    return lambda: target.copy_(source, non_blocking=True)


def _repeated(work: Callable[[], object], device: str) -> Run:
    def run(times: int) -> None:
        for _ in range(times):
            work()
        if device == "cuda":
            torch.cuda.synchronize()

    return run
