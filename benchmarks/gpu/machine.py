"""The machine a result holds for, and how devices and executors are opened on it."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

from vsr.device.protocol import Device, Executor
from vsr.graph import FrameSpec
from vsr.models import LumaModel

Kind = Literal["cuda", "cpu-fake"]
LIBRARIES = (
    "torch",
    "triton",
    "numpy",
    "onnx",
    "cuda-bindings",
    "pycuda",
    "tensorrt",
    "tensorrt_cu13",
    "tensorrt_cu12",
)
ASKED = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,pcie.link.gen.max,pcie.link.width.max"

Make = Callable[[LumaModel, FrameSpec], Executor]


@dataclass(frozen=True)
class Machine:
    """What the parts run on.

    Args:
        torch_device: where torch puts its tensors.
        make: executors by backend; what can't be had here is in `missing`, with the reason.
        toy: sizes and counts of a dry run.
    """

    device: Device
    torch_device: str
    make: dict[str, Make]
    missing: dict[str, str]
    toy: bool


def opened(kind: Kind, index: int = 0) -> Machine:
    if kind == "cpu-fake":
        from benchmarks.gpu.dry import DryExecutor
        from vsr.device.fake import FakeDevice

        torch.set_num_threads(1)  # no waiting for a core that other work holds
        fake = FakeDevice()
        return Machine(fake, "cpu", {"torch": lambda model, spec: DryExecutor(fake, model, spec)}, {}, toy=True)
    raise NotImplementedError


def facts(machine: Machine) -> dict[str, Any]:
    """For the result file."""
    device = machine.device
    with device.current():
        free, total = device.memory()
    return {
        "gpu": device.name,
        "compute_capability": list(device.compute_capability),
        "memory": {"free": free, "total": total},
        "layer": device.layer,
        "driver": _driver(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        **{name: found for name in LIBRARIES if (found := _version(name))},
        "backends": sorted(machine.make),
        "missing": machine.missing,
    }


def _driver() -> str:
    """What the driver's own tool says of the GPU; empty without it."""
    command = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
