"""vsr-eval's table of videos beside their reference."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from vsr import vmaf
from vsr.cli.scores import shown_flicker, summary
from vsr.cli.watch import watched
from vsr.compare import Comparison, compare
from vsr.meter import Scores, spread
from vsr.mux import writing
from vsr.report import counted

NAMED = 8  # frames without a partner that are said one by one
DAMAGED = 5
VMAF = {"vmaf": "VMAF", "vmaf_neg": "NEG"}


def compare_all(arguments: argparse.Namespace) -> int:
    """Prints a line for every result as soon as it is compared, then writes what was asked for; 0, or 5 for damage."""
    program, found = vmaf.find(), dict[Path, Comparison]()
    print(_titles(with_vmaf=program is not None))
    print(f"{_short(arguments.reference):<28}{'':>50}{0:>9.3f}")
    missing = set()
    for path in arguments.results:
        with vmaf.Vmaf(program) as scorer, watched(_short(path), "frame") as step:
            found[path] = compare(
                str(arguments.reference), str(path), frames=arguments.frames, scorer=scorer, step=step
            )
            missing.add(scorer.missing)
        print(_line(path, found[path].scores), flush=True)
        _tell(path, found[path])
    for line in sorted(missing - {""}):
        print(f"no VMAF: {line}", file=sys.stderr)
    _write(arguments, found)
    return DAMAGED if any(comparison.damaged for comparison in found.values()) else 0


def _short(path: Path) -> str:
    return path.name if len(path.name) < 28 else f"...{path.name[-24:]}"


def _titles(*, with_vmaf: bool) -> str:
    more = "".join(f"{title:>8}" for title in VMAF.values()) if with_vmaf else ""
    quality = f"{'PSNR dB':>9}{'5 %':>8}{'least':>8}{'SSIM':>9}{'least':>8}"
    return f"{'video':<28}{'frames':>8}{quality}{'flicker':>9}{'static':>8}{more}"


def _line(path: Path, scores: Scores) -> str:
    psnr, ssim = spread(scores.psnr), spread(scores.ssim)
    quality = (
        f"{psnr['mean']:>9.3f}{psnr['p5']:>8.2f}{psnr['minimum']:>8.2f}{ssim['mean']:>9.4f}{ssim['minimum']:>8.4f}"
    )
    still = f"{shown_flicker(scores):>9}{sum(scores.static) / len(scores.static):>8.1%}"
    more = "".join(f"{spread(scores.vmaf[name])['mean']:>8.2f}" for name in VMAF if name in scores.vmaf)
    return f"{_short(path):<28}{len(scores.times):>8}{quality}{still}{more}"


def _tell(path: Path, comparison: Comparison) -> None:
    """What should be known besides the numbers."""
    lines = list(comparison.notes)
    if comparison.offset:
        lines.append(f"its times are {comparison.offset:+.3f} s against the reference's; that was taken off")
    for whose, times in (("reference", comparison.reference_alone), ("result", comparison.result_alone)):
        if times:
            listed = ", ".join(f"{time:.3f}" for time in times[:NAMED])
            more = " and so on" if len(times) > NAMED else ""
            lines.append(f"{counted(len(times), 'frame')} of the {whose} without a partner, at {listed}{more} s")
    if comparison.damaged:
        lines.append(f"reference or result are damaged in {counted(comparison.damaged, 'place')}")
    for line in lines:
        print(f"{path}: {line}", file=sys.stderr)


def _write(arguments: argparse.Namespace, found: dict[Path, Comparison]) -> None:
    if arguments.json:
        rows = [
            {
                "result": str(path),
                "paired": len(comparison.scores.times),
                "offset": comparison.offset,
                "reference_alone": comparison.reference_alone,
                "result_alone": comparison.result_alone,
                "notes": comparison.notes,
                "damaged": comparison.damaged,
                **summary(comparison.scores),
            }
            for path, comparison in found.items()
        ]
        with writing(str(arguments.json)):
            content = {"reference": str(arguments.reference), "flicker": 0.0, "results": rows}
            arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    if arguments.csv:
        with writing(str(arguments.csv)), arguments.csv.open("w", newline="") as file:
            names = sorted(set(chain.from_iterable(comparison.scores.vmaf for comparison in found.values())))
            writer = csv.writer(file)
            writer.writerow(["result", "time", "psnr", "ssim", "flicker", "static", *names])
            for path, comparison in found.items():
                writer.writerows(_rows(path, comparison.scores, names))


def _rows(path: Path, scores: Scores, names: Sequence[str]) -> list[tuple[object, ...]]:
    more = [scores.vmaf.get(name, [""] * len(scores.times)) for name in names]
    columns = (scores.times, scores.psnr, scores.ssim, scores.flicker, scores.static, *more)
    return [(path, *values) for values in zip(*columns, strict=True)]
