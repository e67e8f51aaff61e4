"""vsr-eval: PSNR and SSIM of the shipped models on a folder of pictures, with the run's own bicubic row."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vsr.errors import VsrError
from vsr.models import models_folder
from vsr.settings import SCALES


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or the exit code of the error it printed."""
    arguments = _parser().parse_args(argv)
    from vsr.training.evaluate import rows

    try:
        table = list(rows(arguments.folder, arguments.engines, networks=arguments.networks, scales=arguments.scales))
    except VsrError as error:
        print(f"vsr-eval: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{'model':<20}{'scale':>6}{'PSNR dB':>10}{'SSIM':>9}")
    for row in table:
        print(f"{row.name:<20}{row.scale:>6}{row.score.psnr:>10.3f}{row.score.ssim:>9.4f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vsr-eval", description=__doc__.partition(": ")[2] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures to reduce, upscale and compare with")
    parser.add_argument("--networks", nargs="+", default=[], help="names such as m4c16; default: all that ship")
    parser.add_argument("--scales", nargs="+", type=int, default=list(SCALES), choices=SCALES, help="default: all")
    parser.add_argument("--engines", type=Path, default=models_folder(), help="folder of models; default: as installed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
