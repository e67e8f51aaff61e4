"""Takes trained models in: python engines/ship.py OUT [OUT ...]

Of each folder that vsr-train wrote, the models go to engines/, their training logs to engines/logs/ and their entries
into manifest.json; then the tables of README.md are written anew from what is there.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from vsr.networks import NETWORKS, build
from vsr.training.evaluate import macs
from vsr.training.recipe import Stage, find

HERE = Path(__file__).parent
Entry = dict[str, Any]


def main(folders: list[Path]) -> None:
    """Takes in every folder, then writes the tables."""
    entries = {entry["file"]: entry for entry in _manifest(HERE)}
    for folder in folders:
        for entry in _manifest(folder):
            shutil.copy(folder / entry["file"], HERE)
            for log in folder.glob(f"{Path(entry['file']).stem}.csv"):
                shutil.copy(log, HERE / "logs")
            entries[entry["file"]] = entry
    models = [entries[name] for name in sorted(entries)]
    (HERE / "manifest.json").write_text(json.dumps({"models": models}, indent=2) + "\n")
    card = HERE / "README.md"
    text = card.read_text()
    for name, lines in (("scores", _scores(models)), ("recipes", _recipes(models))):
        table = "\n".join(lines)
        text = re.sub(f"(?s)(<!-- {name} -->\n).*?(\n<!-- end -->)", rf"\g<1>{table}\g<2>", text)
    card.write_text(text)


def _manifest(folder: Path) -> list[Entry]:
    return list(json.loads((folder / "manifest.json").read_text())["models"])


def _scores(models: list[Entry]) -> Iterator[str]:
    yield "| model | MACs | parameters | Set5, float32 | Set5, int8 | held out, float32 |"
    yield "|---|---|---|---|---|---|"
    found = {entry["file"]: f"{entry['test']['psnr']:.3f} / {entry['test']['ssim']:.4f}" for entry in models}
    for scale in (2, 3, 4):
        floating = [e for e in models if e["scale"] == scale and e["precision"] == "float32"]
        test, other = floating[0]["test"], floating[0]["held_out"]
        both = [f"{judged['bicubic_psnr']:.3f} / {judged['bicubic_ssim']:.4f}" for judged in (test, other)]
        yield f"| bicubic (MATLAB) x{scale} | | | {both[0]} | | {both[1]} |"
        for entry in sorted(floating, key=lambda e: (list(NETWORKS).index(e["network"]), e["recipe"])):
            count = sum(parameter.numel() for parameter in build(entry["network"], scale).parameters())
            cost = macs(onnx.load(HERE / entry["file"]))
            int8 = found.get(f"{entry['recipe']}_int8.onnx", "")
            held = f"{entry['held_out']['psnr']:.3f} / {entry['held_out']['ssim']:.4f}"
            yield f"| `{entry['recipe']}` | {cost:,.0f} | {count:,} | {found[entry['file']]} | {int8} | {held} |"


def _recipes(models: list[Entry]) -> Iterator[str]:
    yield "| recipe | starts from | optimiser | steps in float | in int8 | seed |"
    yield "|---|---|---|---|---|---|"
    for entry in models:
        recipe = find(entry["recipe"])
        if entry["precision"] == "int8" or not recipe.stages:
            continue
        if entry["steps"] == sum(stage.steps for stage in recipe.stages):
            start = f"`{recipe.start}`" if recipe.start else "new"
            row = f"{start} | {recipe.optimiser} | {_steps(recipe.stages)} | {_steps(recipe.quantisation)}"
        else:
            row = f"see below | adam | {entry['steps']:,} | {_quantised(models, recipe.name):,}"
        yield f"| `{recipe.name}` | {row} | {entry['seed']} |"


def _quantised(models: list[Entry], recipe: str) -> int:
    return max(entry["quantisation_steps"] for entry in models if entry["recipe"] == recipe)


def _steps(stages: tuple[Stage, ...]) -> str:
    return ", ".join(f"{stage.steps:,} {stage.loss.upper()} from {stage.rate:g}" for stage in stages)


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
