"""OpenVINO on a CPU: asynchronous requests that read a frame's planes where they are.

Luma and chroma are two compiled models, so that the network's precision can't touch chroma. Both end in sub-pixels
side by side (`vsr.backends.subpixel`); the one copy of a frame puts them in place, in the caller's buffer.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.backends import import_openvino, openvino_core
from vsr.backends.engine import QueuedEngine, threads_and_streams
from vsr.backends.lanes import fill_lanes
from vsr.backends.subpixel import SUFFIX, shuffle, subpixels
from vsr.backends.unsigned import unsigned
from vsr.errors import InputError
from vsr.frame import Frame, Plane, Planes
from vsr.graph import FrameSpec, Part, describe
from vsr.models import LumaModel, ModelChoice, load, processor_flags
from vsr.report import counted

if TYPE_CHECKING:
    from onnx import ModelProto

_HINTS = {"int8": "f32", "bf16": "bf16", "float32": "f32"}
_COMPILING = threading.Lock()  # meanwhile OpenVINO changes the process's locale, and two at once leave it changed
_NAMES = {"i8": "int8", "bf16": "bf16", "f32": "float32"}


class OpenVINOEngine(QueuedEngine["_Running"]):
    """Engine on OpenVINO's CPU plugin.

    One inference stream a thread, up to four, unless told: a stream needs no barrier after every layer, so a core that
    an encoder takes away for a moment doesn't hold up the others. Threads aren't pinned, for the same reason.

    Args:
        threads: 0 takes every core this process may use.
        streams: frames at a time; 1 gives all threads to one frame, which then is ready soonest.
        cache: folder of compiled models; None goes without.
    """

    def __init__(
        self, choice: ModelChoice, spec: FrameSpec, *, threads: int = 0, streams: int = 0, cache: Path | None = None
    ) -> None:
        threads, streams = threads_and_streams(threads, streams)
        super().__init__(spec, choice.scale, streams + 1)
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
            **({} if cache is None else {"CACHE_DIR": str(cache)}),
        }
        model = load(choice)
        parts = [_Part(model, spec, "luma", {**options, "INFERENCE_PRECISION_HINT": _HINTS[choice.precision]})]
        if spec.format.chroma != "grey":
            parts.append(_Part(model, spec, "chroma", {**options, "INFERENCE_PRECISION_HINT": "f32"}))
        self._free = [[_Request(part) for part in parts] for _ in range(streams + 1)]
        precision = running_precision(parts[0].compiled)
        self.label = f"openvino cpu {precision}, {counted(threads, 'thread')}"

    def close(self) -> None:
        self.reset()
        self._free.clear()
        super().close()

    def _start(self, frame: Frame, out: Planes | None) -> _Running:
        requests = self._free.pop()
        for request in requests:
            request.start(frame.planes)
        return _Running(frame, out, requests)

    def _finished(self, running: _Running) -> bool:
        return all(request.finished() for request in running.requests)

    def _finish(self, running: _Running, timeout: float | None) -> Frame:
        for request in running.requests:
            request.wait(timeout)
        result = self._result(running.frame, running.out)
        for request in running.requests:
            request.collect(running.frame.planes, result.planes)
        self._free.append(running.requests)
        running.frame.release()
        return result


def for_cpu(model: LumaModel, spec: FrameSpec, part: Part) -> ModelProto:
    """The description of one part, its end, its codes and its narrow convolutions rewritten for this processor."""
    lanes = 16 if "avx512f" in processor_flags() else 8
    return fill_lanes(unsigned(subpixels(describe(model, spec, part=part), model.scale)), lanes)


class _Part:
    """Luma or chroma, compiled.

    Raises:
        InputError: the network doesn't take this size.
    """

    def __init__(self, model: LumaModel, spec: FrameSpec, part: Part, options: dict[str, Any]) -> None:
        described = for_cpu(model, spec, part)
        core = openvino_core()
        try:
            with _COMPILING:
                graph = core.read_model(model=described.SerializeToString())
                self.compiled = core.compile_model(graph, "CPU", options)
        except RuntimeError as error:
            raise InputError(f"the network doesn't take {spec}: {' '.join(str(error).split())[:200]}") from error
        self.planes = slice(0, 1) if part == "luma" else slice(1, 3)
        self.shuffled = [output.name.endswith(SUFFIX) for output in described.graph.output]


class _Request:
    """One inference of one part; its output buffers are its own."""

    def __init__(self, part: _Part) -> None:
        self._part, self._request = part, part.compiled.create_infer_request()
        self._results = [self._request.get_output_tensor(index).data for index in range(len(part.shuffled))]

    def start(self, planes: Planes) -> None:
        for index, plane in enumerate(planes[self._part.planes]):
            self._request.set_input_tensor(index, _tensor(plane))
        self._request.start_async()

    def finished(self) -> bool:
        return bool(self._request.wait_for(0))

    def wait(self, seconds: float | None) -> None:
        if seconds is None:
            self._request.wait()
        elif not self._request.wait_for(max(0, round(seconds * 1000))):
            raise TimeoutError(f"no result within {seconds} s")

    def collect(self, planes: Planes, upscaled: Planes) -> None:
        """Puts the finished samples of a frame of `planes` in place."""
        given, wanted = planes[self._part.planes], upscaled[self._part.planes]
        for samples, shuffled, before, plane in zip(self._results, self._part.shuffled, given, wanted, strict=True):
            if shuffled:
                shuffle(samples.reshape(before.shape[0], -1, samples.shape[-1]), plane)
            else:
                np.copyto(plane, samples[0, 0])


@dataclass(frozen=True)
class _Running:
    """A frame on its way through its requests."""

    frame: Frame
    out: Planes | None
    requests: list[_Request]


def _tensor(plane: Plane) -> Any:
    own = plane if plane.flags.writeable else plane.copy()  # OpenVINO shares only what it could write to
    return import_openvino().Tensor(own.reshape(1, 1, *plane.shape), shared_memory=True)


def running_precision(compiled: Any) -> str:
    """What the convolutions of a compiled model really compute in, from its execution graph."""
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kernels = [info["primitiveType"].astype(str) for info in infos if info["layerType"].astype(str) == "Convolution"]
    found = {kernel.rsplit("_", 1)[-1].lower() for kernel in kernels}
    return "+".join(sorted(_NAMES.get(name, name) for name in found)) or "float32"
