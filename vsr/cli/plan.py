"""vsr-plan: TensorRT's plans, built ahead, listed, looked into, deleted."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.cli.ending import ended
from vsr.cli.options import OneLine, dimensions, size_in_bytes
from vsr.errors import UsageError
from vsr.report import counted
from vsr.settings import HARDWARE, SCALES, TILINGS, WEIGHTS, EngineSettings, PlanSettings

if TYPE_CHECKING:
    from vsr.plans import StoredPlan

CHROMAS = ("420", "422", "444", "grey")
EPILOG = """A plan is what TensorRT makes of a network for one GPU, one size and one kind of samples. vsr-run builds the
one it needs and keeps it; a plan built ahead saves that wait. A run takes the plan that was used last, so one built
here with other settings is used from then on. A plan of --sizes serves every size between; where there is one for a
size alone, a run prefers that. Plans are code: they are kept in a folder that only you can write to.

exit codes: 0, 1 TensorRT or the GPU failed, 2 usage, 3 input, 4 cache folder, 6 memory, 130 interrupted"""


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or the exit code of the error it printed."""
    arguments = _parser().parse_args(argv)
    return ended("vsr-plan", lambda: arguments.do(arguments))


def _build(arguments: argparse.Namespace) -> None:
    size = arguments.size or (arguments.sizes and arguments.sizes[1])
    if (arguments.input or size) is None or arguments.input is not None and arguments.size is not None:
        raise UsageError("name a video, or give --size WxH or --sizes MIN OPT MAX (and --depth, --chroma)")
    from vsr.planning import make, plain_spec, spec_of

    engine = EngineSettings(
        backend="tensorrt",
        scale=arguments.scale,
        network=arguments.network,
        model=arguments.model,
        weights=arguments.weights,
        precision=arguments.precision,
        devices=(arguments.device,) if arguments.device else (),
    )
    plan = PlanSettings(
        workspace=arguments.workspace,
        level=arguments.level,
        tiling=arguments.tiling,
        hardware=arguments.hardware,
        any_version=arguments.any_version,
        sizes=tuple(arguments.sizes or ()),
    )
    plan.validate()
    if arguments.input is None:
        spec = plain_spec(size, arguments.depth, arguments.chroma)
    else:
        engine, spec = spec_of(arguments.input, engine)
        if size:
            spec = replace(spec, width=size[0], height=size[1])
    with Bar(quiet=arguments.quiet) as bar:
        make(engine, spec, plan, progress=bar.update, said=bar.say)


class Bar:
    """How far a build is, on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns, console = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}")), Console(stderr=True)
        self._quiet, hidden = quiet, quiet or not console.is_terminal
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden)
        self._task = self._progress.add_task("", total=1.0)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, share: float, phase: str) -> None:
        self._progress.update(self._task, completed=share, description=phase)

    def say(self, line: str) -> None:
        if not self._quiet:
            self._progress.print(line, markup=False, highlight=False)


def _list(arguments: argparse.Namespace) -> None:
    from vsr.planning import stored

    cache = stored()
    plans = cache.stored()
    if arguments.json:
        print(json.dumps({"version": 1, "plans": [_entry(plan) for plan in plans]}))
        return
    if not plans:
        print(f"no plans in {cache.folder}")
        return
    rows: list[tuple[str, ...]] = [("KEY", "NETWORK", "FRAMES", "PRECISION", "LIBRARY", "GPU", "SIZE", "USED")]
    rows += [_row(plan) for plan in plans]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(plan: StoredPlan) -> tuple[str, ...]:
    facts, days = plan.facts, (time.time() - plan.used) / 86400
    return (
        plan.digest[:12],
        f"{facts.get('network', '?')} x{facts.get('scale', '?')}",
        str(facts.get("frames", "?")),
        str(facts.get("precision", "?")),
        f"{facts.get('library', '?')} {facts.get('version', '')}",
        str(facts.get("gpu", {}).get("name", "?")),
        f"{plan.nbytes / 2**20:.1f}M",
        f"{days:.0f} days ago" if days >= 1 else "today",
    )


def _entry(plan: StoredPlan) -> dict[str, Any]:
    return {
        "key": plan.digest,
        "path": str(plan.path),
        "bytes": plan.nbytes,
        "used": plan.used,
        "build_seconds": plan.seconds,
        **plan.facts,
    }


def _inspect(arguments: argparse.Namespace) -> None:
    from vsr.backends.tensorrt.inspection import kinds
    from vsr.backends.tensorrt.library import import_tensorrt
    from vsr.planning import found, inspect, stored

    plan = found(stored(), arguments.key)
    layers = inspect(plan, import_tensorrt())
    counts = kinds(layers)
    if arguments.json:
        every = [{"name": layer.name, "kind": layer.kind, "outputs": layer.outputs} for layer in layers]
        print(json.dumps({"version": 1, **_entry(plan), "kinds": counts, "layers": every}))
        return
    print(", ".join(_row(plan)[1:6]))
    for layer in layers:
        print(f"{layer.kind:<20} {layer.name[:80]}  -> {', '.join(layer.outputs)}")
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    print(f"{len(layers)} layers, {counts['Reformat']} of them only reformat (one at each end of a network is normal)")


def _clean(arguments: argparse.Namespace) -> None:
    if not (arguments.all or arguments.older_than or arguments.keep):
        raise UsageError("say what: --all, --older-than DAYS, --keep SIZE")
    from vsr.planning import clean

    gone = clean(older=arguments.older_than * 86400, larger=arguments.keep)
    print(f"{counted(len(gone), 'plan')} deleted, {sum(p.nbytes for p in gone) / 2**20:.1f}M")


def _parser() -> argparse.ArgumentParser:
    parser = OneLine(
        prog="vsr-plan",
        description="TensorRT's plans: build them ahead, list, inspect and delete them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build the plan for a video, or for frames of a size")
    build.set_defaults(do=_build)
    build.add_argument("input", nargs="?", help="a video: its size, samples and scale decide")
    size = build.add_mutually_exclusive_group()
    size.add_argument("--size", type=dimensions, metavar="WxH", help="instead of a video: of its frames")
    size.add_argument("--sizes", type=dimensions, nargs=3, metavar=("MIN", "OPT", "MAX"),
                      help="one plan for every size from MIN to MAX, made to be quick at OPT")  # fmt: skip
    build.add_argument(
        "--depth", type=int, default=8, metavar="N", help="without a video: bits of a sample (default 8)"
    )
    build.add_argument("--chroma", choices=CHROMAS, default="420",
                       help="without a video (default 420; vsr-live's windows are 444)")  # fmt: skip
    build.add_argument("--scale", type=int, choices=SCALES, default=2, help="factor (default 2)")
    build.add_argument("--network", default=EngineSettings.network, help="as vsr-run's")
    build.add_argument("--model", type=Path, metavar="FILE", help="your own luma network, ONNX")
    build.add_argument("--weights", choices=WEIGHTS, default="auto", help="as vsr-run's")
    build.add_argument(
        "--precision", choices=("auto", "fp16", "float32", "int8"), default="auto", help="default: as vsr-run takes"
    )
    build.add_argument("--device", type=int, default=0, metavar="N", help="GPU (default 0)")
    effort = build.add_argument_group("how it is built")
    effort.add_argument("--level", type=int, default=PlanSettings.level, metavar="0-5", help="effort (default 3)")
    effort.add_argument("--tiling", choices=TILINGS, default="none", help="effort for kernels sharing the cache")
    effort.add_argument(
        "--workspace", type=size_in_bytes, default=PlanSettings.workspace, metavar="SIZE", help="default 1G"
    )
    effort.add_argument("--hardware", choices=HARDWARE, default="this", help="GPUs it runs on (default: this model)")
    effort.add_argument("--any-version", action="store_true", help="for later TensorRT versions too; may be slower")
    build.add_argument("--quiet", action="store_true", help="only errors")
    shown = commands.add_parser("list", help="the plans there are")
    shown.set_defaults(do=_list)
    inspect = commands.add_parser("inspect", help="the layers of a plan; needs its GPU and TensorRT")
    inspect.set_defaults(do=_inspect)
    inspect.add_argument("key", help="how its key begins, by vsr-plan list")
    for command in (shown, inspect):
        command.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    clean = commands.add_parser("clean", help="delete plans")
    clean.set_defaults(do=_clean)
    clean.add_argument(
        "--all", action="store_true", help="every plan, what was found of its results, and how fast kernels are"
    )
    clean.add_argument("--older-than", type=float, default=0.0, metavar="DAYS", help="not used for so long")
    clean.add_argument(
        "--keep", type=size_in_bytes, default=0, metavar="SIZE", help="those used longest ago, until the rest fits"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
