"""The machine a result holds for, and how devices and executors are opened on it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from onnx import ModelProto

from vsr.backends.gpu import Gpu, executor_for
from vsr.backends.half import halved
from vsr.backends.tensorrt import library
from vsr.bench.machine import machine as sheet
from vsr.device import Layer, open_device
from vsr.device.protocol import Device, Executor
from vsr.graph import FrameSpec, describe
from vsr.models import Library, ModelChoice, Runner, load

Kind = Literal["cuda", "cpu-fake"]
ASKED = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,pcie.link.gen.max,pcie.link.width.max"

Make = Callable[[ModelChoice, FrameSpec], Executor]


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
    toy: bool = False


def opened(kind: Kind, index: int = 0, layer: Layer = "auto") -> Machine:
    """Raises NoDeviceError where there is no GPU."""
    if kind == "cpu-fake":
        from benchmarks.gpu.dry import DryExecutor
        from vsr.device.fake import FakeDevice

        torch.set_num_threads(1)  # no waiting for a core that other work holds
        fake = FakeDevice()
        return Machine(
            fake, "cpu", {"pytorch": lambda choice, spec: DryExecutor(fake, half(choice, spec))}, {}, toy=True
        )
    gpu = Gpu(open_device(index, layer))
    obstacles: dict[Library, str] = {"tensorrt": library.obstacle(), "pytorch": ""}
    make: dict[str, Make] = {
        name: partial(_made, gpu, Runner(name, index)) for name, obstacle in obstacles.items() if not obstacle
    }
    return Machine(gpu.device, "cuda", make, {name: obstacle for name, obstacle in obstacles.items() if obstacle})


def half(choice: ModelChoice, spec: FrameSpec) -> ModelProto:
    return halved(describe(load(choice), spec))


def _made(gpu: Gpu, runner: Runner, choice: ModelChoice, spec: FrameSpec) -> Executor:
    return executor_for(gpu, replace(choice, precision="fp16", runner=runner), spec)


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
        **sheet(),
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
