"""vsr-bench: how fast vsr is here, and whether something got slower."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.cli.ending import ended
from vsr.cli.options import OneLine, dimensions
from vsr.cli.stop import Stop
from vsr.errors import InputError, UsageError
from vsr.networks.table import NETWORKS
from vsr.settings import BACKENDS, PRECISIONS, SCALES

if TYPE_CHECKING:
    from vsr.bench.result import Result

NAMED = ("360p", "540p", "720p", "1080p")
FRAMES, ROUNDS = 120, 15
QUICK_FRAMES, QUICK_ROUNDS, QUICK_PAIRS = 48, 5, 8
EPILOG = """examples:
  vsr-bench                                          the default network, 540p, into nothing, md5 and x264
  vsr-bench --quick                                  a minute
  vsr-bench --networks m4c8 m4c16 --sizes 360p 540p --threads 1 2 --json a.json --html a.html
  vsr-bench --against ../before                      another checkout (or venv/bin/python), in turn: what got slower?
  vsr-bench compare a.json b.json                    the same of two results, beyond noise

fps: after the first frame and up to the very end, verification included; each round is a process of its own.

exit codes: 0, 1 something got slower (compare, --against), 2 usage, 3 input, 4 output, 6 memory, 130 interrupted"""


def main(argv: list[str] | None = None) -> int:
    """Returns 0, 1 when something got slower, or the exit code of the error it printed."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["compare"]:
        return ended("vsr-bench", lambda: _compare(words[1:]))
    arguments = parser().parse_args(words)
    return ended("vsr-bench", lambda: _bench(arguments))


def parser() -> argparse.ArgumentParser:
    p = OneLine(
        prog="vsr-bench",
        description="Measures the whole program on this machine, in every combination of what is given.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--input", type=Path, metavar="FILE", help="a video to upscale (default: a drawn scene)")
    p.add_argument("--networks", nargs="+", choices=NETWORKS, default=["m4c16"], metavar="NAME", help="default m4c16")
    p.add_argument("--sizes", nargs="+", type=_size, default=["540p"], metavar="SIZE", help="360p 540p 720p 1080p WxH")
    p.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["auto"], help="default auto")
    p.add_argument("--threads", nargs="+", type=int, default=[0], metavar="N", help="of the network; 0: one a core")
    p.add_argument("--backends", nargs="+", choices=BACKENDS, default=["auto"], help="default auto")
    p.add_argument("--sinks", nargs="+", metavar="SINK", type=_sink, help="null md5 x264 x264-PRESET (default: 3)")
    p.add_argument("--scale", type=int, choices=SCALES, default=2, help="factor (default 2)")
    p.add_argument("--frames", type=int, metavar="N", help=f"of the clip, at most (default {FRAMES})")
    p.add_argument("--rounds", type=int, metavar="N", help=f"of each case after a cold one (default {ROUNDS})")
    p.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds of {QUICK_FRAMES} frames, null and x264"
    )
    p.add_argument("--no-quality", action="store_true", help="leave PSNR and SSIM out")
    p.add_argument("--against", type=Path, metavar="BUILD", help="another checkout or its Python, to compare with")
    p.add_argument("--json", type=Path, metavar="FILE", help="everything, for compare")
    p.add_argument("--json-against", type=Path, metavar="FILE", help="the same of the other build")
    p.add_argument("--html", type=Path, metavar="FILE", help="one page with plots")
    return p


def _size(word: str) -> str:
    if word not in NAMED:
        width, height = dimensions(word)
        if width % 2 or height % 2 or min(width, height) < 2:
            raise argparse.ArgumentTypeError(f"{word}: the clip is 4:2:0, its sides are even")
    return word


def _sink(word: str) -> str:
    if word not in ("null", "md5", "x264") and not word.startswith("x264-"):
        raise argparse.ArgumentTypeError(f"{word}: null, md5, x264 or x264-PRESET")
    return word


def _bench(arguments: argparse.Namespace) -> int:
    frames = arguments.frames if arguments.frames is not None else QUICK_FRAMES if arguments.quick else FRAMES
    quick = QUICK_PAIRS if arguments.against else QUICK_ROUNDS
    rounds = arguments.rounds if arguments.rounds is not None else quick if arguments.quick else ROUNDS
    _check(arguments, frames, rounds)
    Stop(ask=False, program="vsr-bench").listen()
    from vsr.bench.builds import Build
    from vsr.bench.compare import pairs_needed
    from vsr.bench.run import Matrix, bench
    from vsr.cli.bench_table import show

    matrix = Matrix(
        networks=arguments.networks,
        sizes=arguments.sizes,
        precisions=arguments.precisions,
        threads=arguments.threads,
        backends=arguments.backends,
        sinks=arguments.sinks or (["null", "x264"] if arguments.quick else ["null", "md5", "x264"]),
        scale=arguments.scale,
    )
    source, judged = arguments.input and str(arguments.input), not arguments.no_quality
    against = Build.at(arguments.against) if arguments.against else None
    if against and rounds < (needed := pairs_needed(len(matrix.cases()))):
        raise UsageError(f"--against tells nothing of so many cases in fewer than {needed} rounds")
    result, other = bench(matrix, frames=frames, rounds=rounds, source=source, judged=judged, against=against, say=_say)
    show(result)
    _write(result, arguments.json, arguments.html)
    if other:
        _write(other, arguments.json_against)
    if not result.measured:
        raise UsageError("nothing was measured, as every case is absent")
    return _compared(other, result) if other else 0


def _check(arguments: argparse.Namespace, frames: int, rounds: int) -> None:
    """Raises VsrError for what can't be meant, or would fail only at the end."""
    from vsr.target import check_output

    if frames < 2 or rounds < 1 or min(arguments.threads) < 0:
        raise UsageError("--frames must be at least 2, --rounds at least 1, --threads at least 0")
    if arguments.input and not arguments.input.is_file():
        raise InputError(f"{arguments.input}: no such file")
    if arguments.json_against and not arguments.against:
        raise UsageError("--json-against is for --against")
    for path in filter(None, (arguments.json, arguments.json_against, arguments.html)):
        check_output("-", str(path), overwrite=True)


def _write(result: Result, json: Path | None, html: Path | None = None) -> None:
    from vsr.bench.page import page
    from vsr.bench.result import Result
    from vsr.mux import writing

    for path, content in ((json, Result.to_json), (html, page)):
        if path:
            with writing(str(path)):
                path.write_text(content(result))


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _compare(words: list[str]) -> int:
    p = OneLine(
        prog="vsr-bench compare", description="What the second result does slower than the first, beyond noise."
    )
    p.add_argument("before", type=Path, metavar="A.json")
    p.add_argument("after", type=Path, metavar="B.json")
    arguments = p.parse_args(words)
    from vsr.bench.result import read

    return _compared(read(arguments.before), read(arguments.after))


def _compared(before: Result, after: Result) -> int:
    """Returns 1 when something got slower. Raises InputError when nothing can be told."""
    from vsr.bench.compare import compare, remarks
    from vsr.cli.bench_table import show_differences

    differences = compare(before, after)
    show_differences(differences, remarks(before, after))
    verdicts = {difference.verdict for difference in differences}
    if verdicts == {"can't tell"}:
        raise InputError("too few undisturbed rounds to tell; measure both with more --rounds on an idle machine")
    return int("slower" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
