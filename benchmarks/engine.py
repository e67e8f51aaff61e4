"""Milliseconds a frame in the engine alone: luma, chroma, a whole frame through the stage, and the first frame.

    python benchmarks/engine.py [--size 960x540] [--scale 2] [--network m4c16] [--threads 0] [--json FILE]

Every figure is the least of several rounds, as whatever else the machine does can only add to it; rounds of the
precisions are interleaved, so that all meet the same disturbance. Luma and chroma are one request at a time on all
threads (latency); the stage keeps its streams full (throughput).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vsr.backends import openvino_core
from vsr.backends.engine import threads_and_streams
from vsr.backends.openvino import for_cpu
from vsr.bench.machine import machine
from vsr.errors import UsageError
from vsr.frame import Frame, PlanarFormat
from vsr.graph import FrameSpec, Part
from vsr.models import Exact, load, resolve
from vsr.settings import EngineSettings
from vsr.upscaler import UpscaleStage

ROUNDS, FRAMES = 5, 30
CASES: list[tuple[Exact, int]] = [("int8", 8), ("bf16", 8), ("bf16", 10), ("float32", 8)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--network", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    runs: dict[str, dict[str, Callable[[], float]]] = {}
    for precision, depth in CASES:
        settings = EngineSettings(
            scale=options.scale,
            network=options.network,
            precision=precision,
            threads=options.threads,
            reuse="off",
        )
        spec = FrameSpec(format=PlanarFormat(depth=depth), width=width, height=height)
        try:
            resolve(settings, depth)
        except UsageError as error:
            print(f"{precision}, {depth} bit: {error}")
            continue
        runs[f"{precision}, {depth} bit"] = {
            "luma": alone(settings, spec, "luma"),
            "chroma": alone(settings, spec, "chroma"),
            "frame": through_stage(settings, spec),
            "first frame": lambda settings=settings, spec=spec: first_frame(settings, spec),
        }
    best = {name: dict.fromkeys(parts, float("inf")) for name, parts in runs.items()}
    for _ in range(ROUNDS):
        for name, parts in runs.items():
            for part, run in parts.items():
                best[name][part] = min(best[name][part], run())
    report(best, options, width, height)


def alone(settings: EngineSettings, spec: FrameSpec, part: Part) -> Callable[[], float]:
    """One part, one request at a time, every thread in it."""
    choice = resolve(settings, spec.format.depth)
    described = for_cpu(load(choice), spec, part)
    core = openvino_core()
    hint = "bf16" if part == "luma" and choice.precision == "bf16" else "f32"
    threads, _ = threads_and_streams(settings.threads)
    options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    model = core.read_model(model=described.SerializeToString())
    request = core.compile_model(model, "CPU", {**options, "ENABLE_CPU_PINNING": False}).create_infer_request()

    def run() -> float:
        times = []
        for _ in range(FRAMES):
            begin = time.perf_counter()
            request.infer()
            times.append(time.perf_counter() - begin)
        return min(times)

    return run


def through_stage(settings: EngineSettings, spec: FrameSpec) -> Callable[[], float]:
    """Whole frames, as a video runs."""
    random, shapes = np.random.default_rng(0), spec.format.shapes(spec.width, spec.height)
    planes = tuple(random.integers(0, spec.format.white, shape, spec.format.dtype) for shape in shapes)
    stage = UpscaleStage(settings)

    def source() -> Iterator[Frame]:
        for index in range(FRAMES):
            yield Frame(format=spec.format, width=spec.width, height=spec.height, planes=planes, index=index)

    def run() -> float:
        begin = time.perf_counter()
        for result in stage.frames(source()):
            result.release()
        return (time.perf_counter() - begin) / FRAMES

    run()
    return run


FIRST = """
import numpy as np
from vsr.frame import Frame, PlanarFormat
from vsr.settings import EngineSettings
from vsr.upscaler import UpscaleStage
format = PlanarFormat(depth={depth})
planes = format.views(np.zeros(format.nbytes({width}, {height}), np.uint8), {width}, {height})
stage = UpscaleStage({settings!r})
frame = Frame(format=format, width={width}, height={height}, planes=planes)
for result in stage.frames([frame]):
    result.release()
"""


def first_frame(settings: EngineSettings, spec: FrameSpec) -> float:
    """A new process, from its start to its end after one frame; compiled models are in the cache after round one."""
    program = FIRST.format(depth=spec.format.depth, width=spec.width, height=spec.height, settings=settings)
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - begin


def report(best: dict[str, dict[str, float]], options: argparse.Namespace, width: int, height: int) -> None:
    threads, streams = threads_and_streams(options.threads)
    sheet = machine()
    facts = {
        "network": options.network,
        "size": f"{width}x{height} 4:2:0 x{options.scale}",
        "threads": threads,
        "streams": streams,
    }
    shown = {name: sheet[name] for name in ("date", "processor", "openvino")} | facts
    print(*(f"{key}: {value}" for key, value in shown.items()), sep="\n")
    print(f"\n{'ms':16}" + "".join(f"{part:>14}" for part in next(iter(best.values()))))
    for name, parts in best.items():
        print(f"{name:16}" + "".join(f"{1000 * value:14.1f}" for value in parts.values()))
    if options.json:
        milliseconds = {name: {k: round(1000 * v, 2) for k, v in parts.items()} for name, parts in best.items()}
        options.json.write_text(json.dumps({"machine": sheet, **facts, "milliseconds": milliseconds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
