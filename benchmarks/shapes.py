"""Which shape is best at the same milliseconds: python benchmarks/shapes.py SHAPE|FILE ... [--out FILE]

    python benchmarks/shapes.py m4c16 m5c16 u2-m4c48 trained/m6c12_x2.onnx --pictures Set5 --held-out train

A SHAPE is any MxCy (m3c24; u2-m4c48 works on blocks of 2x2 pixels) or another name of docs/networks.md; its weights are
untrained, which doesn't change its time. A FILE is a trained model NAME_xSCALE.onnx, with NAME_xSCALE_int8.onnx beside
it where there is one; it is timed in place of its shape, and scored.

Whole 4:2:0 frames go through vsr's own engine as in vsr-run, its streams full. In every round each shape runs once at
each size and precision, one after the other, so that a machine that slows down slows all; the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from vsr.bench.machine import machine
from vsr.errors import UsageError
from vsr.frame import Frame, PlanarFormat
from vsr.models import Exact
from vsr.networks import NETWORKS, build
from vsr.networks.mxcy import MxCy
from vsr.settings import EngineSettings
from vsr.training.evaluate import PictureSet, macs, score, upscaler
from vsr.training.export import save
from vsr.training.quantise import QuantisedMxCy, as_float, as_int8
from vsr.upscaler import UpscaleStage

MXCY = re.compile(r"(?:u(?P<block>\d+)-)?m(?P<body>\d+)c(?P<channels>\d+)")
WARM, LEAST = 4, 8  # frames before the clock starts, and timed at least
CALIBRATION = (4, 1, 64, 64)


@dataclass(frozen=True)
class Shape:
    """A network to be timed.

    Args:
        files: model by the kind of its weights, float32 and perhaps int8.
        trained: those of them whose scores mean anything.
    """

    name: str
    files: Mapping[str, Path]
    trained: Mapping[str, Path] = field(default_factory=dict)

    def file(self, precision: Exact) -> Path | None:
        return self.files.get("int8" if precision == "int8" else "float32")


def network(name: str, scale: int) -> nn.Module:
    """The untrained network of a shape. Raises UsageError for a name that is none."""
    found = MXCY.fullmatch(name)
    if name in NETWORKS or found is None:
        return build(name, scale)
    body, channels, block = (int(found[part] or 1) for part in ("body", "channels", "block"))
    return MxCy(body, channels, block, scale)


def untrained(name: str, scale: int, folder: Path) -> Shape:
    """A shape with random weights; int8 too where it is an MxCy."""
    torch.manual_seed(0)
    model = network(name, scale)
    made = {"float32": as_float(model, name)}
    if isinstance(model, MxCy):
        quantised = QuantisedMxCy(model)
        quantised.calibrate(torch.rand(CALIBRATION))
        made["int8"] = as_int8(quantised, name)
    for weights, proto in made.items():
        save(proto, folder / f"{name}_x{scale}_{weights}.onnx")
    return Shape(name, {weights: folder / f"{name}_x{scale}_{weights}.onnx" for weights in made})


def trained(path: Path, scale: int, folder: Path) -> Shape:
    """A model and the int8 one beside it; where none is, int8 is timed with random weights."""
    name, _, of = path.stem.rpartition("_x")
    if of != str(scale) or not path.is_file():
        raise UsageError(f"{path}: give a file called NAME_x{scale}.onnx (--scale {scale})")
    files = {"float32": path, "int8": path.with_name(f"{path.stem}_int8.onnx")}
    there = {weights: file for weights, file in files.items() if file.is_file()}
    named = MXCY.fullmatch(name) is not None
    return Shape(name, ({**untrained(name, scale, folder).files} if named else {}) | there, there)


def shapes(words: list[str], scale: int, folder: Path) -> list[Shape]:
    """In the order given, each name once; a trained one is taken before an untrained one."""
    found: dict[str, Shape] = {}
    for word in words:
        model = word.endswith(".onnx")
        shape = trained(Path(word), scale, folder) if model else untrained(word, scale, folder)
        if shape.trained or shape.name not in found:
            found[shape.name] = shape
    return list(found.values())


def milliseconds(path: Path, precision: Exact, size: tuple[int, int], options: argparse.Namespace) -> float:
    """A frame's share of the time that frames take one after the other, as a video runs."""
    width, height = size
    settings = EngineSettings(
        scale=options.scale, model=path, precision=precision, threads=options.threads, reuse="off"
    )
    stage, format = UpscaleStage(settings), PlanarFormat()
    random = np.random.default_rng(0)
    planes = tuple(random.integers(0, 256, shape, np.uint8) for shape in format.shapes(width, height))

    def endless() -> Iterator[Frame]:
        while True:
            yield Frame(format=format, width=width, height=height, planes=planes)

    def seconds(frames: int) -> float:
        begin = time.perf_counter()
        for result in stage.frames(islice(endless(), frames)):
            result.release()
        return time.perf_counter() - begin

    seconds(1)  # opens the engine
    each = seconds(WARM) / WARM
    frames = max(LEAST, round(options.seconds / each))
    taken = 1000 * seconds(frames) / frames
    stage.close()
    return taken


def scored(shape: Shape, sets: list[PictureSet], scale: int) -> dict[str, dict[str, float]]:
    """dB by set and weights; none of untrained ones."""
    models = {weights: upscaler(onnx.load(path)) for weights, path in shape.trained.items()}
    return {
        one.name: {weights: round(score(up, one.planes, scale=scale).psnr, 3) for weights, up in models.items()}
        for one in sets
        if models
    }


def measured(found: list[Shape], options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Every round's milliseconds by shape and by size and precision."""
    runs: dict[str, dict[str, list[float]]] = {shape.name: {} for shape in found}
    for number in range(options.rounds):
        for size, precision, shape in product(options.sizes, options.precisions, found):
            if (path := shape.file(precision)) is not None:
                taken = milliseconds(path, precision, size, options)
                runs[shape.name].setdefault(f"{size[0]}x{size[1]} {precision}", []).append(round(taken, 3))
        print(f"round {number + 1} of {options.rounds}", flush=True)
    return runs


def rows(found: list[Shape], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One record a shape."""
    sets = [PictureSet.read(folder) for folder in options.pictures]
    sets += [PictureSet.held_out(folder) for folder in options.held_out]
    runs = measured(found, options)
    return [
        {
            "shape": shape.name,
            "macs": macs(onnx.load(shape.files["float32"])),
            "ms": {case: statistics.median(times) for case, times in runs[shape.name].items()},
            "ms_all": runs[shape.name],
            "psnr": scored(shape, sets, options.scale),
        }
        for shape in found
    ]


def table(records: list[dict[str, Any]]) -> Iterator[str]:
    """Lines for people, quickest first by the first case."""
    cases = list(dict.fromkeys(case for record in records for case in record["ms"]))
    scores = list(dict.fromkeys((name, w) for r in records for name, by in r["psnr"].items() for w in by))
    titles = [*cases, *(f"{name} {weights}" for name, weights in scores)]
    yield f"{'shape':12}{'MAC/px':>10}" + "".join(f"  {title:>16}" for title in titles)
    for record in sorted(records, key=lambda record: record["ms"].get(cases[0], float("inf"))):
        values = [record["ms"].get(case) for case in cases]
        values += [record["psnr"].get(name, {}).get(weights) for name, weights in scores]
        shown = "".join(f"  {'' if value is None else f'{value:.3f}':>16}" for value in values)
        yield f"{record['shape']:12}{record['macs']:>10,.0f}{shown}"


def dimensions(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("shapes", nargs="+", metavar="SHAPE|FILE")
    p.add_argument("--scale", type=int, default=2)
    p.add_argument("--sizes", nargs="+", type=dimensions, default=[(960, 540), (1920, 1080)], metavar="WxH")
    p.add_argument("--precisions", nargs="+", default=["bf16", "int8"], choices=["int8", "bf16", "float32"])
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=float, default=1.0, help="of every measurement, about")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--pictures", nargs="*", type=Path, default=[], help="folders that trained models are scored on")
    p.add_argument("--held-out", nargs="*", type=Path, default=[], help="training folders: what is held out of them")
    p.add_argument("--out", type=Path, help="result file (default: printed only)")
    options = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VSR_CACHE"] = folder  # compiled models of weights nobody wants again
        try:
            records = rows(shapes(options.shapes, options.scale, Path(folder)), options)
        except UsageError as error:
            raise SystemExit(f"shapes.py: {error}") from error
    print(*table(records), sep="\n")
    if options.out:
        facts = {key: getattr(options, key) for key in ("scale", "threads", "rounds", "seconds")}
        options.out.write_text(json.dumps({"machine": machine(), **facts, "rows": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
