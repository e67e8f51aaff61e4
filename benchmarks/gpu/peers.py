"""The same work as a torch user would write it: eager, captured, and compiled, all with the weights that ship."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.gpu.case import Case
from benchmarks.gpu.timing import Run
from vsr.graph import CHROMA_RADIUS, chroma_kernel
from vsr.networks import build
from vsr.training.export import runtime_form

Planes = tuple[Tensor, Tensor, Tensor]
WHITE = 255


class WholeFrame(nn.Module):
    """8-bit planes (1, 1, rows, columns) in and out: the network on luma in half, channels last; chroma in float32."""

    kernel: Tensor

    def __init__(self, case: Case, model: ModelProto, *, half: bool) -> None:
        super().__init__()
        self.type, self.scale = torch.float16 if half else torch.float32, case.scale
        built, self.context = network(case.network, case.scale, model)
        self.network = built.to(dtype=self.type, memory_format=torch.channels_last)
        kernel = chroma_kernel("420", "unspecified", case.scale, case.depth)
        self.register_buffer("kernel", torch.from_numpy(kernel))

    def forward(self, y: Tensor, u: Tensor, v: Tensor) -> Planes:
        luma = functional.pad(y.to(self.type) / WHITE, (self.context,) * 4, mode="replicate")
        up = self.network(luma.contiguous(memory_format=torch.channels_last))
        return _codes(up.float() * WHITE), self._chroma(u), self._chroma(v)

    def _chroma(self, plane: Tensor) -> Tensor:
        padded = functional.pad(plane.float(), (CHROMA_RADIUS,) * 4, mode="replicate")
        return _codes(functional.pixel_shuffle(functional.conv2d(padded, self.kernel), self.scale))


def _codes(values: Tensor) -> Tensor:
    return values.round().clamp(0, WHITE).to(torch.uint8)


def network(name: str, scale: int, model: ModelProto) -> tuple[nn.Module, int]:
    """What `model` was exported from, with its weights, and the edge padding that it wants on every side."""
    built = build(name, scale)
    context = cast(int, built.context)
    built = runtime_form(built)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "PRelu")]
    layers = [m for m in built.modules() if isinstance(m, nn.Conv2d | nn.PReLU)]
    for node, layer in zip(nodes, layers, strict=True):
        for constant, parameter in zip(node.input[1:], layer.parameters(), strict=True):
            parameter.data.copy_(torch.from_numpy(weights[constant].copy()).reshape(parameter.shape))
    return built.eval(), context


def inputs(case: Case, device: str) -> Planes:
    """Random planes."""
    random = np.random.default_rng(0)
    shapes = case.spec.format.shapes(case.width, case.height)
    y, u, v = (torch.from_numpy(random.integers(0, 256, shape, np.uint8))[None, None].to(device) for shape in shapes)
    return y, u, v


def compiled(module: nn.Module, device: str) -> Callable[..., Planes]:
    """By torch's compiler, every kernel chosen by measuring; on a CPU only traced, as a dry run of the same calls."""
    if device == "cpu":
        return cast(Callable[..., Planes], torch.compile(module, backend="eager", fullgraph=True))
    mode = "max-autotune-no-cudagraphs"
    return cast(Callable[..., Planes], torch.compile(module, mode=mode, dynamic=False, fullgraph=True))


def runner(work: Callable[[], object], device: str, *, capture: bool) -> Run:
    """`work` so many times, from a CUDA graph where `capture`."""
    launch = captured(work) if capture and device == "cuda" else work

    @torch.inference_mode()
    def run(count: int) -> None:
        for _ in range(count):
            launch()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


@torch.inference_mode()
def captured(work: Callable[[], object]) -> Callable[[], object]:
    """`work` as a CUDA graph; it ran three times before, so that libraries have chosen their kernels."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
