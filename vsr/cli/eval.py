"""vsr-eval: how good networks are on pictures or on a video, or videos beside the one they were made of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vsr.cli.ending import ended
from vsr.cli.options import OneLine, dimensions
from vsr.errors import InputError, UsageError
from vsr.settings import SCALES

NETWORKS = {"networks", "scales", "engines", "frame", "plot"}
TAKEN = {  # which options mean something for what is given
    "a folder of pictures": NETWORKS,
    "a video alone": NETWORKS | {"frames", "crf"},
    "videos and their reference": {"frames", "csv"},
}
EPILOG = """what is given:
  vsr-eval FOLDER                 networks on pictures: reduced, upscaled, compared; time and MACs
  vsr-eval VIDEO [--crf 28]       the same on its first frames, in between coded by x264; flicker too
  vsr-eval REFERENCE RESULT ...   videos of one size, frames paired by presentation time

PSNR and SSIM are of luma, means over pictures or frames; flicker is the mean change from frame to frame, in 8-bit
codes, where the reference stands still (the reference has 0). ms: the network alone, at the precision named behind it.
MAC/px: multiply-accumulates per input pixel.

exit codes: 0, 2 usage, 3 input, 4 output, 5 compared but a file was damaged, 6 memory,
130 interrupted"""


def main(argv: list[str] | None = None) -> int:
    """Returns 0, 5 when a video was damaged, or the exit code of the error it printed."""
    words = sys.argv[1:] if argv is None else argv  # as in vsr.cli.run
    arguments = _parser().parse_args(words) if "--" in words else _parser().parse_intermixed_args(words)
    return ended("vsr-eval", lambda: _eval(arguments))


def _eval(arguments: argparse.Namespace) -> int:
    _check(arguments)
    if arguments.results:
        from vsr.cli.pairs import compare_all

        return compare_all(arguments)
    from vsr.cli.scores import score_networks

    score_networks(arguments)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raises VsrError for what can't be meant, or would fail only at the end."""
    from vsr.target import check_output

    if not arguments.results and not arguments.reference.exists() and "%" not in arguments.reference.name:
        raise InputError(f"{arguments.reference}: no such file or folder")
    alone = "a folder of pictures" if arguments.reference.is_dir() else "a video alone"
    given = "videos and their reference" if arguments.results else alone
    for option in sorted(set().union(*TAKEN.values()) - TAKEN[given]):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option} means nothing for {given} (see vsr-eval --help)")
    if arguments.frames is not None and arguments.frames < 1:
        raise UsageError("--frames must be at least 1")
    if arguments.crf is not None and not 0 <= arguments.crf <= 51:
        raise UsageError("--crf must be from 0 to 51")
    if arguments.frame is not None and min(arguments.frame) < 1:
        raise UsageError("--frame must be at least 1x1")
    for path in filter(None, (arguments.json, arguments.csv, arguments.plot)):
        check_output("-", str(path), overwrite=True)
    if arguments.plot:
        from vsr.training.curves import check_drawing

        check_drawing()


def _parser() -> argparse.ArgumentParser:
    parser = OneLine(
        prog="vsr-eval",
        description="How good networks are on pictures or a video, or videos beside the one they were made of.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reference", type=Path, metavar="FOLDER|VIDEO", help="pictures, or a video")
    parser.add_argument("results", type=Path, nargs="*", metavar="RESULT", help="videos to compare with it")
    networks = parser.add_argument_group("networks")
    networks.add_argument("--networks", nargs="+", metavar="NAME", help="such as m4c16, or all (default): that ship")
    networks.add_argument("--scales", nargs="+", type=int, choices=SCALES, help="default: all; of a video 2")
    networks.add_argument("--engines", type=Path, help="folder of models; default: as installed")
    networks.add_argument("--frame", type=dimensions, metavar="WxH", help="size of what is timed (default 960x540)")
    networks.add_argument("--plot", type=Path, metavar="FILE", help="PSNR against time as a PNG (needs matplotlib)")
    video = parser.add_argument_group("videos")
    video.add_argument("--frames", type=int, metavar="N", help="only the first N (default: all; of one alone 60)")
    video.add_argument("--crf", type=float, metavar="N", help="code the reduced video by x264 before it is upscaled")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything as JSON, each frame's scores too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="each frame's scores, of videos with a reference")
    return parser


if __name__ == "__main__":
    sys.exit(main())
