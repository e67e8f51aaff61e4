"""OpenVINO on a CPU: asynchronous requests that read a frame's planes and write the result's, without copies between.

Luma and chroma are two compiled models, so that a lower precision of the network can't touch chroma.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from vsr.backends.engine import InFlight, Ticket
from vsr.frame import Frame, FramePool, Lease, PlanarFormat, Plane, Planes
from vsr.graph import FrameSpec, describe
from vsr.models import ModelChoice, load

_HINTS = {"int8": "f32", "bf16": "bf16", "float32": "f32"}


@dataclass
class _Slot:
    """One frame in flight: its requests and its buffers."""

    requests: list[Any]
    frame: Frame
    planes: Planes
    lease: Lease | None
    released: bool = False


class OpenVINOEngine:
    """Engine on the CPU plugin; one inference stream a thread, so that no core waits for another.

    Args:
        threads: 0 takes every core this process may use.
    """

    def __init__(self, choice: ModelChoice, spec: FrameSpec, *, threads: int = 0) -> None:
        threads = threads or len(os.sched_getaffinity(0))
        model, core = load(choice), ov.Core()
        self._spec, self._scale = spec, choice.scale
        self._pool = FramePool(spec.format, spec.width * choice.scale, spec.height * choice.scale)
        self._models = []
        parts = {"luma": _HINTS[choice.precision], "chroma": "f32"}
        if spec.format.chroma == "grey":
            del parts["chroma"]
        for part, hint in parts.items():
            graph = core.read_model(model=describe(model, spec, part=part).SerializeToString())
            options = _options(threads, hint)
            self._models.append(core.compile_model(graph, "CPU", options))
        self._flight: InFlight[_Slot] = InFlight(threads, self._finished, self._finish)
        self._free = [[m.create_infer_request() for m in self._models] for _ in range(threads)]
        self.label = f"openvino cpu {running_precision(self._models[0])}, {threads} threads"

    @property
    def capacity(self) -> int:
        return self._flight.capacity

    @property
    def leased(self) -> int:
        return self._pool.leased

    def submit(self, frame: Frame, out: Planes | None = None) -> Ticket:
        if FrameSpec.of(frame) != self._spec:
            raise ValueError(f"this engine is for {self._spec}, not {FrameSpec.of(frame)}")
        self._flight.check_room()
        planes, lease = (out, None) if out is not None else self._pool.take()
        slot = _Slot(self._free.pop(), frame, planes, lease)
        for request, part in zip(slot.requests, (slice(0, 1), slice(1, 3)), strict=False):
            for index, plane in enumerate(frame.planes[part]):
                request.set_input_tensor(index, _tensor(plane))
            for index, plane in enumerate(planes[part]):
                request.set_output_tensor(index, _tensor(plane))
            request.start_async()
        return self._flight.push(slot)

    def ready(self) -> list[Frame]:
        return self._flight.ready()

    def wait(self, ticket: Ticket, timeout: float | None = None) -> Frame:
        return self._flight.wait(ticket, timeout)

    def drain(self) -> list[Frame]:
        return self._flight.drain()

    def reset(self) -> None:
        for result in self._flight.drain():
            result.release()

    def close(self) -> None:
        self.reset()
        self._free.clear()
        self._models.clear()
        self._pool.close()

    def _finished(self, slot: _Slot) -> bool:
        return all(request.wait_for(0) for request in slot.requests)

    def _finish(self, slot: _Slot, timeout: float | None) -> Frame:
        for request in slot.requests:
            if timeout is None:
                request.wait()
            elif not request.wait_for(int(timeout * 1000)):
                raise TimeoutError(f"no result within {timeout} s")
        self._free.append(slot.requests)
        size = self._spec.width * self._scale, self._spec.height * self._scale
        result = slot.frame.like(
            format=self._spec.format, width=size[0], height=size[1], planes=slot.planes, lease=slot.lease
        )
        slot.frame.release()
        return result


def _tensor(plane: Plane) -> Any:
    return ov.Tensor(plane.reshape(1, 1, *plane.shape), shared_memory=True)


def _options(threads: int, hint: str) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,
    }


def running_precision(compiled: Any) -> str:
    """What the convolutions of a compiled model really compute in, from its execution graph."""
    found = set()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) == "Convolution":
            found.add(info["primitiveType"].astype(str).rsplit("_", 1)[-1].lower())
    names = {"i8": "int8", "f32": "float32"}
    return "+".join(sorted(names.get(p, p) for p in found)) or "float32"
