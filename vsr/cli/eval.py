"""vsr-eval: PSNR, SSIM, time and MACs of the shipped models on a folder of pictures, with the run's own bicubic row."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vsr.errors import VsrError
from vsr.models import models_folder
from vsr.settings import SCALES


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or the exit code of the error it printed."""
    arguments = _parser().parse_args(argv)
    from vsr.training.evaluate import rows

    table = []
    print(f"{'model':<20}{'scale':>6}{'PSNR dB':>10}{'SSIM':>9}{'ms':>9}{'MAC/px':>11}")
    try:
        for row in rows(arguments.folder, arguments.engines, networks=arguments.networks, scales=arguments.scales):
            table.append(row)
            cost = "" if row.macs is None else f"{row.milliseconds:>9.1f}{row.macs:>11,.0f}"
            print(f"{row.name:<20}{row.scale:>6}{row.score.psnr:>10.3f}{row.score.ssim:>9.4f}{cost}", flush=True)
    except VsrError as error:
        print(f"vsr-eval: {error}", file=sys.stderr)
        return error.exit_code
    if arguments.json:
        lines = [{"model": row.name, "scale": row.scale, **vars(row.score), "macs": row.macs,
                  "milliseconds": row.milliseconds} for row in table]  # fmt: skip
        arguments.json.write_text(json.dumps({"pictures": arguments.folder.name, "rows": lines}, indent=2) + "\n")
    if arguments.plot:
        from vsr.training.curves import draw_speed

        draw_speed(table, arguments.plot)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vsr-eval",
        description=__doc__.partition(": ")[2] if __doc__ else None,
        epilog="ms: the network alone, 960x540 in, as the model file is (int8 or float32). "
        "MAC/px: multiply-accumulates per input pixel.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures to reduce, upscale and compare with")
    parser.add_argument("--networks", nargs="+", default=["all"], help="names such as m4c16; default: all that ship")
    parser.add_argument("--scales", nargs="+", type=int, default=list(SCALES), choices=SCALES, help="default: all")
    parser.add_argument("--engines", type=Path, default=models_folder(), help="folder of models; default: as installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the table as JSON too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PSNR against time as a PNG (needs matplotlib)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
