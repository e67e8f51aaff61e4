"""Trained weights become shipped models: scored, entered in `manifest.json`, int8 only where it costs next to no dB."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from vsr.errors import VerificationError
from vsr.networks.table import NETWORKS
from vsr.training.evaluate import PictureSet, Score, bicubic, score, upscaler
from vsr.training.export import save
from vsr.training.pictures import sources
from vsr.training.quantise import QuantisedMxCy, as_float, as_int8
from vsr.training.recipe import Recipe

MOST_LOSS = 0.10  # dB an int8 model may lose against its float32 one
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Releaser:
    """Where models go and what they are judged by.

    Args:
        engines: folder of the models and their manifest.
        data: folder the networks were trained on; its sub-folders are named in the manifest.
        test: the pictures the scores are computed on.
    """

    engines: Path
    data: Path
    test: PictureSet

    def write(self, recipe: Recipe, network: nn.Module, quantised: QuantisedMxCy | None) -> Iterator[tuple[str, Score]]:
        """Writes what was trained; yields each file's name and score. VerificationError: as `write_int8`."""
        yield f"{recipe.name}.onnx", self.write_float(as_float(network, recipe.network), recipe)
        if quantised is not None:
            yield f"{recipe.name}_int8.onnx", self.write_int8(as_int8(quantised, recipe.network), recipe)

    def write_float(self, model: onnx.ModelProto, recipe: Recipe) -> Score:
        """Writes NAME.onnx and enters it; an int8 model of an earlier float one is removed."""
        result = self._score(model, recipe)
        int8 = f"{recipe.name}_int8.onnx"
        (self.engines / int8).unlink(missing_ok=True)
        self._update(lambda entries: [entry for entry in entries if entry["file"] != int8])
        self._write(model, recipe, f"{recipe.name}.onnx", "float32", result)
        return result

    def write_int8(self, model: onnx.ModelProto, recipe: Recipe) -> Score:
        """Writes NAME_int8.onnx and enters it. VerificationError: it loses more than 0.10 dB against NAME.onnx."""
        floating = self._score(onnx.load(self.engines / f"{recipe.name}.onnx"), recipe)
        result = self._score(model, recipe)
        if floating.psnr - result.psnr > MOST_LOSS:
            raise VerificationError(
                f"{recipe.name}: int8 loses {floating.psnr - result.psnr:.2f} dB on {self.test.name} "
                f"({floating.psnr:.2f} to {result.psnr:.2f}); at most {MOST_LOSS:.2f} ships: quantise with more steps"
            )
        self._write(model, recipe, f"{recipe.name}_int8.onnx", "int8", result)
        return result

    def _score(self, model: onnx.ModelProto, recipe: Recipe) -> Score:
        return score(upscaler(model), self.test.planes, scale=recipe.scale)

    def _write(self, model: onnx.ModelProto, recipe: Recipe, name: str, precision: str, result: Score) -> None:
        path = self.engines / name
        save(model, path)
        held_out = PictureSet.held_out(self.data)
        entry = {
            "file": name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "network": recipe.network,
            "scale": recipe.scale,
            "precision": precision,
            "test": judged(self.test, result, recipe.scale),
            "held_out": judged(held_out, score(upscaler(model), held_out.planes, scale=recipe.scale), recipe.scale),
            "recipe": recipe.name,
            "seed": recipe.seed,
            "steps": sum(stage.steps for stage in recipe.stages),
            "quantisation_steps": sum(stage.steps for stage in recipe.quantisation) if precision == "int8" else 0,
            "data": [] if NETWORKS[recipe.network].family == "cubic" else sources(self.data),
            "licence": LICENCE,
        }
        self._update(lambda entries: [*(other for other in entries if other["file"] != name), entry])

    def _update(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        path = self.engines / "manifest.json"
        entries = json.loads(path.read_text())["models"] if path.exists() else []
        ordered = sorted(change(entries), key=lambda entry: str(entry["file"]))
        path.write_text(json.dumps({"models": ordered}, indent=2) + "\n")


def judged(pictures: PictureSet, result: Score, scale: int) -> dict[str, str | float]:
    """A score and that of bicubic on the same pictures, as the manifest has them."""
    reference = score(bicubic(scale), pictures.planes, scale=scale)
    return {
        "pictures": pictures.name,
        "psnr": round(result.psnr, 3),
        "ssim": round(result.ssim, 4),
        "bicubic_psnr": round(reference.psnr, 3),
        "bicubic_ssim": round(reference.ssim, 4),
    }
