"""vsr-train: trains a recipe in float32, where it says so then in int8, and writes the models with their scores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vsr.cli.ending import ended
from vsr.errors import UsageError
from vsr.training.recipe import find, known


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or the exit code of the error it printed."""
    arguments = _parser().parse_args(argv)
    return ended("vsr-train", lambda: _train(arguments))


def _train(arguments: argparse.Namespace) -> None:
    from vsr.training.train import train, train_int8

    recipe = find(arguments.recipe)
    recipe = recipe if arguments.steps is None else recipe.shortened(arguments.steps)
    recipe = recipe if arguments.batch is None else recipe.with_batch(arguments.batch)
    data, out, clips = arguments.data, arguments.out, arguments.clips
    how: Any = {"clips": clips, "devices": arguments.devices, "resume": arguments.resume}
    if clips is not None and recipe.degradation != "stream":
        raise UsageError(f"--clips is for recipes of stream weights; {recipe.name} trains on pictures alone")
    out.mkdir(parents=True, exist_ok=True)
    network = train(recipe, data, out, vgg=arguments.vgg, **how)
    quantised = train_int8(recipe, data, out, **how) if recipe.quantisation else None
    if arguments.weights_only:
        return
    from vsr.training.evaluate import PictureSet
    from vsr.training.release import Releaser

    test = PictureSet.read(arguments.test) if arguments.test else PictureSet.held_out(data)
    for name, result in Releaser(engines=out, data=data, test=test).write(recipe, network, quantised):
        print(f"{name}: {result.psnr:.3f} dB, SSIM {result.ssim:.4f} on {test.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vsr-train", description=__doc__.partition(": ")[2] if __doc__ else None)
    parser.add_argument("recipe", metavar="RECIPE", help=", ".join(known()))
    parser.add_argument("--data", type=Path, required=True, help="folder of training pictures, one sub-folder per set")
    parser.add_argument("--clips", type=Path, help="folder of videos beside the pictures, for stream weights")
    parser.add_argument(
        "--test", type=Path, help="folder of pictures for the scores, such as Set5; default: held out of --data"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for models, weights, checkpoints and curves")
    parser.add_argument(
        "--vgg", type=Path, metavar="FILE", help="torchvision's VGG19 weights (.pth, .safetensors), for srgan"
    )
    parser.add_argument("--steps", type=int, help="float steps in all; every stage is cut in proportion")
    parser.add_argument("--batch", type=int, help="patches in every step, instead of the recipe's 16 or so")
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="GPUs, or processes of the CPU; each has its own batches"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    parser.add_argument(
        "--weights-only",
        action="store_true",
        help="write no models, for a machine without OpenVINO; --resume does later",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
