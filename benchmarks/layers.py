"""Where a frame's time goes in the network: python -m benchmarks.layers [--network m4c16] [--size 960x540]

Every operator's milliseconds on one thread (an inference stream has one), with the multiplications that a convolution
needs and how many it does in a second; beside it the ceiling, the most that the same runtime reaches here in a
convolution of 64 to 64 channels. Rounds of network and ceiling take turns; each figure is the least of its rounds.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, shape_inference

from vsr.backends import import_openvino, openvino_core
from vsr.backends.openvino import for_cpu
from vsr.bench.machine import machine
from vsr.frame import PlanarFormat
from vsr.graph import FrameSpec, Part, describe
from vsr.models import LumaModel, load, resolve
from vsr.settings import EngineSettings
from vsr.training.export import QuantisedKernel, int8_model

ROUNDS, WIDE, SCALE = 30, 64, 2
PARTS: tuple[Part, ...] = ("luma", "chroma")
SHORTEST = 0.02  # ms worth a line


class Profiled:
    """One part, compiled for one thread; `times` are each operator's, in ms."""

    def __init__(self, model: LumaModel, spec: FrameSpec, part: Part) -> None:
        self.needed = multiplications(describe(model, spec, part=part))
        core = openvino_core()
        options = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "PERF_COUNT": True,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        graph = core.read_model(model=for_cpu(model, spec, part).SerializeToString())
        compiled = core.compile_model(graph, "CPU", options)
        self._request = compiled.create_infer_request()
        random = np.random.default_rng(0)
        for index, entrance in enumerate(compiled.inputs):
            plane = random.integers(0, 256, tuple(entrance.shape)).astype(np.uint8)
            self._request.set_input_tensor(index, import_openvino().Tensor(plane))
        self._request.infer()
        self.times: dict[str, float] = {}

    def run(self) -> None:
        self._request.infer()
        for node in self._request.profiling_info:
            name = node.node_name.removesuffix("/WithoutBiases")
            self.times[name] = min(self.times.get(name, np.inf), node.real_time.total_seconds() * 1000)

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"operator": name, "ms": round(ms, 3)}
            | (
                {"gmac": round(gmac, 4), "gmac_s": round(gmac / ms * 1000)}
                if (gmac := self.needed.get(name, 0))
                else {}
            )
            for name, ms in self.times.items()
            if ms >= SHORTEST
        ]


def multiplications(described: ModelProto) -> dict[str, float]:
    """10^9 multiplications that each convolution of a description needs, by its name."""
    graph = shape_inference.infer_shapes(described).graph
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.value_info}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return {
        node.name or node.output[0]: np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:]) / 1e9
        for node in graph.node
        if node.op_type == "Conv"
    }


def wide() -> LumaModel:
    """int8, of random weights; its middle convolutions are WIDE to WIDE."""
    random, widths = np.random.default_rng(0), [1, WIDE, WIDE, WIDE, SCALE**2]
    kernels = [
        QuantisedKernel(
            codes=random.integers(-127, 128, (outputs, inputs, 3, 3)).astype(np.int8),
            scales=np.full(outputs, 1e-3, np.float32),
            bias=np.zeros(outputs, np.float32),
            activation=1.0 if outputs == WIDE else None,
        )
        for inputs, outputs in pairwise(widths)
    ]
    proto = int8_model(kernels, network="wide", scale=SCALE)
    return LumaModel(proto=proto, scale=SCALE, radius=len(kernels), peak=255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="m4c16")
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    spec = FrameSpec(format=PlanarFormat(), width=width, height=height)
    model = load(resolve(EngineSettings(scale=SCALE, network=arguments.network, precision="int8"), 8))
    parts = [Profiled(model, spec, part) for part in PARTS]
    ceiling = Profiled(wide(), FrameSpec(format=PlanarFormat(), width=480, height=270), "luma")
    for _ in range(ROUNDS):
        for profiled in (*parts, ceiling):
            profiled.run()
    most = max(row.get("gmac_s", 0) for row in ceiling.rows())
    rows = [row for part in parts for row in part.rows()]
    total = sum(row["ms"] for row in rows)
    print(f"{arguments.network} int8 {arguments.size}, one thread; {WIDE} to {WIDE} channels: {most} GMAC/s")
    for row in rows:
        speed = f"{row['gmac']:7.3f} GMAC {row['gmac_s']:5d}/s {row['gmac_s'] / most:5.0%}" if "gmac" in row else ""
        print(f"{row['operator'][:40]:40} {row['ms']:7.2f} ms {row['ms'] / total:5.0%} {speed}")
    print(f"{'in all':40} {total:7.2f} ms")
    if arguments.json:
        found = {"network": arguments.network, "size": arguments.size, "ceiling_gmac_s": most, "operators": rows}
        arguments.json.write_text(json.dumps({"machine": machine(), **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
