"""Side by side with what else upscales a video on this machine: python -m benchmarks.peers [--json FILE]

Every peer decodes, upscales and drops the same clip on all cores this process may use (fewer: taskset), in a process of
its own, once a round; rounds follow one another, so that a machine that slows down slows all of them. fps is from the
first frame that is done to the last one, for at most --seconds: starting isn't in it, and slow ones do fewer frames.
PSNR and SSIM are of luma against the frames that the clip was reduced from. What isn't here is named with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table as Drawing

from benchmarks.peers.clip import drawn, of_video
from benchmarks.peers.once import Order
from benchmarks.peers.peer import Clip
from benchmarks.peers.rounds import Table, compare, process
from benchmarks.peers.rows import MEASURE, peers
from vsr import __version__
from vsr.bench.compare import BUSY
from vsr.bench.machine import machine
from vsr.bench.run import pixels
from vsr.errors import UsageError, VsrError
from vsr.settings import SCALES
from vsr.target import check_output

WIDEST = 160


def main(arguments: list[str] | None = None) -> int:
    """Returns 0, or the exit code of the error it printed."""
    options = _parser().parse_args(arguments)
    try:
        tables = _measured(options)
    except VsrError as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return error.exit_code
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, WIDEST)
    for table in tables:
        show(table, console)
    if options.json:
        content = {"vsr": __version__, "machine": machine(), "tables": [table.content() for table in tables]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def _measured(options: argparse.Namespace) -> list[Table]:
    """Raises VsrError for options and inputs that are none."""
    chosen = _chosen(options)
    models = options.models and str(options.models.resolve())
    tables = []
    for size in options.sizes[:1] if options.input else options.sizes:
        with tempfile.TemporaryDirectory(prefix="vsr-peers-") as folder:
            clip = _clip(Path(folder), size, options)
            orders = [
                Order(work="time", peer=name, clip=clip, seconds=options.seconds, models=models) for name in chosen
            ]
            table = Table(clip=_named(clip, options))
            compare(table, orders, options.rounds, partial(process, cache=Path(folder)), _say)
        tables.append(table)
    return tables


def _chosen(options: argparse.Namespace) -> list[str]:
    """Names of peers. Raises VsrError for options that can't be meant, or would fail only at the end."""
    names = [peer.name for peer in peers(None)]
    chosen = [name for name in names if not options.peers or any(map(name.startswith, options.peers))]
    if not chosen or options.frames < 2 or options.rounds < 1:
        raise UsageError(f"--frames at least 2, --rounds at least 1, --peers of: {', '.join(names)}")
    if options.models and not options.models.is_dir():
        raise UsageError(f"--models {options.models}: no such folder")
    if options.json:
        check_output("-", str(options.json), overwrite=True)
    return chosen


def _clip(folder: Path, size: tuple[int, int], options: argparse.Namespace) -> Clip:
    _say("the clip")
    if options.input:
        return of_video(folder, str(options.input), options.scale, options.frames)
    return drawn(folder, size, options.scale, options.frames)


def _named(clip: Clip, options: argparse.Namespace) -> str:
    name = options.input.name if options.input else "drawn scene"
    large = f"{clip.width * clip.scale}x{clip.height * clip.scale}"
    return f"{name}, H.264, {clip.width}x{clip.height} to {large}"


def show(table: Table, console: Console) -> None:
    drawing = Drawing(title=table.clip, title_justify="left", box=None, pad_edge=False)
    for name in ("", "fps", f"{MEASURE} is", "PSNR", "SSIM", "MiB"):
        drawing.add_column(name, justify="right" if name else "left", no_wrap=True)
    drawing.add_column("what ran", no_wrap=True)
    for row in table.rows:
        times, judged = table.times(row), row.judged
        drawing.add_row(
            row.name,
            f"{row.fps:.1f}" if row.fps >= 1 else f"{row.fps:.3f}",
            f"{times:.2f} x" if times else "",
            f"{judged.psnr:.2f}",
            f"{judged.ssim:.4f}",
            f"{row.peak_mib:.0f}",
            row.timed[0].engine,
        )
    console.print(drawing)
    for name, why in table.absent.items():
        console.print(f"absent: {name}: {why}", markup=False)
    busy = [share for row in table.rows for share in row.others if share is not None and share > BUSY]
    if busy:
        console.print(f"in {len(busy)} runs other work had over {BUSY:.0%} of the machine, {max(busy):.0%} at most")


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--input", type=Path, metavar="FILE", help="a video, reduced first (default: a drawn scene)")
    p.add_argument(
        "--sizes",
        nargs="+",
        type=pixels,
        default=[pixels("540p")],
        metavar="SIZE",
        help="of the drawn scene, 540p or WxH",
    )
    p.add_argument("--scale", type=int, choices=SCALES, default=2)
    p.add_argument("--frames", type=int, default=120, help="of the scene or video; they are played to and fro")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=3, help="that a run is timed for at most")
    p.add_argument("--peers", nargs="+", metavar="NAME", help="only those whose name begins so")
    p.add_argument("--models", type=Path, metavar="FOLDER", help="of models for dnn_superres, sr, raisr: docs/bench.md")
    p.add_argument("--json", type=Path, metavar="FILE", help="everything")
    return p


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
