"""vsr-train: trains a recipe in float32, then in int8, and writes both models with their scores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vsr.errors import VsrError
from vsr.training.recipes import RECIPES


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or the exit code of the error it printed."""
    arguments = _parser().parse_args(argv)
    try:
        _train(arguments)
    except VsrError as error:
        print(f"vsr-train: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _train(arguments: argparse.Namespace) -> None:
    from vsr.training.evaluate import PictureSet
    from vsr.training.export import float_model, int8_model
    from vsr.training.quantise import float_kernels, int8_kernels, train_int8
    from vsr.training.release import Releaser
    from vsr.training.train import train

    data, out, resume = arguments.data, arguments.out, arguments.resume
    recipe = RECIPES[arguments.recipe]
    if arguments.steps is not None:
        recipe = recipe.shortened(arguments.steps)
    out.mkdir(parents=True, exist_ok=True)
    test = PictureSet.read(arguments.test) if arguments.test else PictureSet.held_out(data)
    releaser = Releaser(engines=out, data=data, test=test)
    network = train(recipe, data, out, resume=resume)
    floating = float_model(float_kernels(network), network=recipe.network, scale=recipe.scale)
    result = releaser.write_float(floating, recipe)
    print(f"{recipe.name}.onnx: {result.psnr:.3f} dB, SSIM {result.ssim:.4f} on {test.name}")
    quantised = train_int8(recipe, data, out, resume=resume)
    int8 = int8_model(int8_kernels(quantised), network=recipe.network, scale=recipe.scale)
    result = releaser.write_int8(int8, recipe)
    print(f"{recipe.name}_int8.onnx: {result.psnr:.3f} dB, SSIM {result.ssim:.4f} on {test.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vsr-train", description=__doc__.partition(": ")[2] if __doc__ else None)
    parser.add_argument("recipe", choices=sorted(RECIPES), metavar="RECIPE", help=", ".join(sorted(RECIPES)))
    parser.add_argument("--data", type=Path, required=True, help="folder of training pictures, one sub-folder per set")
    parser.add_argument(
        "--test", type=Path, help="folder of pictures for the scores, such as Set5; default: held out of --data"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for models, weights and checkpoints")
    parser.add_argument("--steps", type=int, help="float steps in all; every stage is cut in proportion")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
