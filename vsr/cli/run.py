"""vsr-run: upscale a video, a picture or a folder of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.cli.options import parser, settings_of
from vsr.cli.stop import Stop
from vsr.errors import OutputError, UsageError, VsrError
from vsr.report import counted

if TYPE_CHECKING:
    from vsr.download import Local
    from vsr.job import Job
    from vsr.report import Report
    from vsr.settings import RunSettings

DAMAGE_SHOWN = 20
LEAST_SHOWN = 0.05  # seconds of a stage
LEAST_REUSED = 0.005  # share of the work


def main(argv: list[str] | None = None) -> int:
    """Parses, runs, and turns errors into one line and an exit code."""
    words = sys.argv[1:] if argv is None else argv
    # IN --scale 3 OUT too; argparse forgets what "--" means then
    args = parser().parse_args(words) if "--" in words else parser().parse_intermixed_args(words)
    stop = Stop(ask=args.partial)
    stop.listen()
    try:
        return _dispatch(args, settings_of(args), stop)
    except VsrError as error:
        return _fail(args, str(error), error.exit_code, error)
    except MemoryError as error:
        return _fail(args, "out of memory; try --memory with less", 6, error)
    except OSError as error:  # a name too long, a folder nobody may enter
        named = error.filename or args.output
        return _fail(args, f"{named}: {error.strerror or error}", 3 if str(named) == args.input else 4, error)
    except Exception as error:
        if args.debug:
            raise
        return _fail(args, f"internal error: {type(error).__name__}: {error} (--debug shows where)", 1, error)


def _fail(args: argparse.Namespace, line: str, code: int, error: BaseException) -> int:
    if args.debug:
        import traceback

        traceback.print_exception(error)
    _complain(line)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # Python would complain once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _dispatch(args: argparse.Namespace, settings: RunSettings, stop: Stop) -> int:
    from vsr import batch, preview
    from vsr.download import local

    if args.report and not args.report.parent.is_dir():
        raise OutputError(f"{args.report.parent}: no such folder for the report")
    if args.preview is not None or args.dry_run:
        with local(settings, lambda line: _say(args, line)) as source:
            ready = _learnt(args, source.settings)
            if args.preview is not None:
                preview.write(ready, args.preview)
                _say(args, f"{settings.output}: before | after at {args.preview:g} s")
            else:
                found = preview.estimate(ready)
                print(json.dumps(found, indent=2))
                for line in (*found["job"]["notes"], preview.told(found["estimate"])):
                    _say(args, line)
        return 0
    reports: list[Report] = []

    def one(settings: RunSettings) -> int:
        with local(settings, lambda line: _say(args, line)) as source:
            reports.append(_one(args, source, stop))
        return reports[-1].exit_code

    folder = Path(settings.input).is_dir()
    code = batch.run_folder(settings, one, lambda line: _say(args, line), _complain) if folder else one(settings)
    if args.report:
        _write_report(args.report, [report.to_dict() for report in reports] if folder else reports[0].to_dict())
    return code


def _write_report(path: Path, content: Any) -> None:
    try:
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: the report can't be written ({error.strerror}); the output is there") from error


def _one(args: argparse.Namespace, source: Local, stop: Stop) -> Report:
    """One file, with progress and the report."""
    from vsr import stills
    from vsr.cli.progress import Bar, JsonLines, silent
    from vsr.pipeline import run
    from vsr.probe import probe

    settings, said = _learnt(args, source.settings), set[str]()

    def tell(notes: Iterable[str]) -> None:
        for note in notes:
            if note not in said:
                said.add(note)
                _say(args, note)

    if stills.is_still(settings.input):
        report = stills.run(settings)
    else:
        job = probe(settings)
        to_pipe = job.sink == "y4m" and not job.output
        if to_pipe and sys.stdout.isatty():
            raise UsageError("standard output is a terminal; send the y4m into a program, as in | ffplay -")
        tell([*job.notes, *([_goal(job)] if job.encoder else [])])
        pipe = sys.stderr if to_pipe else sys.stdout
        progress: Any = silent()
        if args.json:
            progress = JsonLines(job, pipe)
        elif not args.quiet and sys.stderr.isatty():
            progress = Bar(job)

        def each(report: Report) -> None:
            tell(report.notes)
            progress(report)

        with progress:
            report = run(job, settings, each, stop=stop)
    source.complete(report)
    tell(report.notes)
    if not args.json:
        _summary(args, report)
    return report


def _learnt(args: argparse.Namespace, settings: RunSettings) -> RunSettings:
    """The settings with the network that learns from the input, where that is the one asked for."""
    if settings.engine.network != "zssr" or settings.engine.model is not None:
        return settings
    try:
        from vsr.training import zero_shot
    except ModuleNotFoundError as error:
        raise UsageError(f'zssr learns from the input and needs {error.name} (pip install "vsr[train]")') from error
    return zero_shot.prepared(settings, lambda line: _say(args, line))


def _summary(args: argparse.Namespace, report: Report) -> None:
    if report.stages:
        speed = report.media_seconds / report.seconds if report.seconds else 0.0
        spent = ", ".join(f"{stage} {busy:.1f}" for stage, busy in report.stages.items() if busy >= LEAST_SHOWN)
        overlapping = f"; overlapping: {spent}" if spent else ""
        done = f"{counted(report.frames_written, 'frame')} at {report.fps:.1f} fps ({speed:.2f}x)"
        reused = f", {report.reused:.0%} unchanged and not computed again" if report.reused >= LEAST_REUSED else ""
        _say(args, f"{done}{reused}, {report.seconds:.1f} s in all{overlapping}")
    else:
        _say(args, f"{report.seconds:.1f} s, {report.engine}")
    if report.damaged_packets:
        _complain(f"{report.input}: damaged in {counted(report.damaged_packets, 'place')}; the rest was kept")
    for line in report.damage[:DAMAGE_SHOWN]:
        _say(args, f"damaged: {line}")
    if report.damaged_packets > DAMAGE_SHOWN:
        _say(args, f"damaged: {report.damaged_packets - DAMAGE_SHOWN} more (--report lists them)")
    if report.digest:
        print(report.digest, file=sys.stdout)
    if report.verified:
        _say(args, f"{report.output}: verified ({'; '.join(report.verified)})")


def _goal(job: Job) -> str:
    assert job.encoder is not None
    encoder = job.encoder
    options = " ".join(f"{key}={value}" for key, value in encoder.options.items() if not key.endswith("-params"))
    return f"to {encoder.width}x{encoder.height} {encoder.pix_fmt} by {encoder.codec} {options}".rstrip()


def _complain(line: str) -> None:
    print(f"vsr-run: {line}", file=sys.stderr)


def _say(args: argparse.Namespace, line: str) -> None:
    if not args.quiet:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
