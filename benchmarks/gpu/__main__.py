"""The GPU path on this machine: python -m benchmarks.gpu [--device cuda|cpu-fake] [--out FILE]

Per network, size and depth: the network alone, with copies, and end to end from decoded frames in pinned and in
pageable memory; beside them what the machine can do at most, the floor that this sets, and torch eager and compiled.
Frames come from --decoded, which `make device-pack` writes, or are random. A part that fails is noted and the next one
runs; the file is written after each. `--device cpu-fake` runs all of it in small without a GPU, to see that it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.gpu import parts, summary
from benchmarks.gpu.case import Case
from benchmarks.gpu.machine import facts, opened
from benchmarks.gpu.results import Results
from vsr.device import LAYERS

NETWORKS = ("m4c16", "m10c16", "m4c8", "u2-m4c32", "espcn", "fsrcnn")
SIZES = ((1920, 1080), (960, 540), (480, 270))
TOY_SIZES = ((48, 32), (32, 18))
BAR = "m4c16"
PACKED = Path("device-pack/frames.npz")

Part = tuple[str, Callable[[dict[str, Any]], object], float]


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when every part ran, 1 otherwise."""
    options = _parser().parse_args(arguments)
    machine = opened(options.device, options.index, options.layer)
    results = Results(options.out, {"machine": facts(machine), "parts_of_seconds": options.seconds}, options.seconds)
    bench = parts.Bench(machine, options.decoded if options.decoded.is_file() else None, options.each)
    for part in planned(bench, options):
        results.part(*part)
    machine.device.close()
    print("\n".join(summary.lines(results.content)))
    print(f"written to {options.out}")
    return 1 if results.content["errors"] else 0


def planned(bench: parts.Bench, options: argparse.Namespace) -> Iterator[Part]:
    """(name, work, seconds it may take), most wanted first."""
    backends = list(bench.machine.make)
    sizes = TOY_SIZES if bench.machine.toy else SIZES
    bar = Case(network=BAR, width=sizes[0][0], height=sizes[0][1])
    cases = [
        Case(network=network, width=width, height=height, depth=depth)
        for depth in (8, 10)
        for width, height in sizes
        for network in options.networks
    ]
    yield "limits", partial(parts.limits, bench), 30
    for backend in backends:
        yield f"{backend}: {bar}", partial(parts.rates, bench, case=bar, backend=backend), 40
    first = backends[0]
    yield "timeline", partial(parts.timeline, bench, case=bar, backend=first), 30
    yield "timeline without graphs", partial(parts.timeline, bench, case=bar, backend=first, capture=False), 30
    yield "layers", partial(parts.layers, bench), 40
    yield "slots", partial(parts.slots, bench, case=bar, backend=first), 30
    yield "memory", partial(parts.memory, bench, case=bar, backend=first), 30
    for depth in (8, 10):
        if depth == 10:
            yield "beside", partial(parts.beside, bench, case=bar, backend=first), 120
        for backend, case in product(backends, cases):
            if case.depth == depth and case != bar:
                yield f"{backend}: {case}", partial(parts.rates, bench, case=case, backend=backend), 20


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--device", choices=["cuda", "cpu-fake"], default="cuda")
    p.add_argument("--index", type=int, default=0, help="of the GPU")
    p.add_argument("--layer", choices=["auto", *LAYERS], default="auto", help="what drives the GPU")
    p.add_argument("--networks", nargs="+", default=NETWORKS)
    p.add_argument("--decoded", type=Path, default=PACKED, help="archive of decoded frames; without it random ones")
    p.add_argument("--seconds", type=float, default=330, help="for everything; what doesn't fit is left out and said")
    p.add_argument("--each", type=float, default=0.4, help="seconds that one way to run one case is timed")
    p.add_argument("--out", type=Path, default=Path("gpu.json"))
    return p


if __name__ == "__main__":
    raise SystemExit(main())
