"""The papers' experiments in small: python -m benchmarks.papers NAME --data DATA --test Set5

Trains the variants of one experiment with the product's own loop, judges them on held-out pictures and on `--test`, and
writes NAME.json and NAME.png. README.md beside this file says what came out.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.papers.experiments import EXPERIMENTS
from benchmarks.papers.runs import Pictures, Result, run
from vsr.bench.machine import machine
from vsr.training.evaluate import PictureSet

RESULTS = Path(__file__).parent.parent / "results" / "papers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vsr" / "papers"


def main(arguments: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=EXPERIMENTS)
    p.add_argument("--data", type=Path, required=True, help="folder of pictures to train on; every 50th is held out")
    p.add_argument("--test", type=Path, required=True, help="folder of pictures to report on")
    p.add_argument("--steps", type=int, help="of each run (default: the experiment's)")
    p.add_argument("--seeds", type=int, nargs="+", help="a run each (default: the experiment's)")
    p.add_argument("--cache", type=Path, default=CACHE, help="decoded pictures are kept here")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(arguments)
    experiment = EXPERIMENTS[args.name]
    test, steps = PictureSet.read(args.test), args.steps or experiment.steps
    results = [
        run(variant, test, seed=seed, steps=steps)
        for variant in experiment.variants(Pictures(args.data, args.cache))
        for seed in args.seeds or experiment.seeds
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    experiment.draw(results, args.out / f"{args.name}.png")
    content = {
        "machine": machine(),
        "command": f"python -m benchmarks.papers {args.name} --data {args.data.name} --test {args.test.name}",
        "steps": steps,
        "runs": [_record(result) for result in results],
    }
    (args.out / f"{args.name}.json").write_text(json.dumps(content, indent=1) + "\n")
    for result in results:
        print(json.dumps(_record(result)))


def _record(result: Result) -> dict[str, object]:
    return {
        "label": result.label,
        "seed": result.seed,
        "parameters": result.parameters,
        "holdout": {scale: round(psnr, 3) for scale, psnr in result.holdout.items()},
        "test": {scale: round(psnr, 3) for scale, psnr in result.test.items()},
        "curve": [[step, round(psnr, 3)] for step, psnr in result.curve],
    }


if __name__ == "__main__":
    main()
