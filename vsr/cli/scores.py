"""vsr-eval's table of networks."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from vsr.cli.watch import watched
from vsr.meter import Scores, spread
from vsr.models import models_folder
from vsr.mux import writing
from vsr.settings import SCALES
from vsr.training.evaluate import Candidate, Judge, PictureSet, Row, candidates, measured, on_clip, on_pictures

FRAMES = 60  # of a video, unless said
SIZE = (960, 540)


def score_networks(arguments: argparse.Namespace) -> None:
    """Prints a line for every network as soon as it is measured, then writes what was asked for."""
    folder, (width, height) = arguments.reference.is_dir(), arguments.frame or SIZE
    chosen, judge, table = _candidates(arguments, folder=folder), _judge(arguments, folder=folder), list[Row]()
    print(_titles(video=not folder))
    for candidate in chosen:
        with watched(candidate.name) as step:
            table.append(measured(candidate, judge, size=(height, width), step=step))
        print(_line(table[-1]), flush=True)
    print(f"ms: the network alone, {width}x{height} in", file=sys.stderr)
    if arguments.json:
        judged = {"pictures": arguments.reference.name} if folder else {"video": arguments.reference.name}
        facts = {**judged, "crf": arguments.crf, "timed": f"{width}x{height}"}
        with writing(str(arguments.json)):
            arguments.json.write_text(json.dumps({**facts, "rows": [_facts(row) for row in table]}, indent=2) + "\n")
    if arguments.plot:
        from vsr.training.curves import draw_speed

        with writing(str(arguments.plot)):
            draw_speed(table, arguments.plot, f"{width}x{height}")


def _candidates(arguments: argparse.Namespace, *, folder: bool) -> list[Candidate]:
    scales = arguments.scales or (SCALES if folder else SCALES[:1])
    return candidates(arguments.engines or models_folder(), networks=arguments.networks or ["all"], scales=scales)


def _judge(arguments: argparse.Namespace, *, folder: bool) -> Judge:
    if folder:
        return on_pictures(PictureSet.read(arguments.reference).planes)
    return on_clip(str(arguments.reference), frames=arguments.frames or FRAMES, crf=arguments.crf)


def _titles(*, video: bool) -> str:
    frames = f"{'5 %':>8}{'least':>8}" if video else ""
    flicker = f"{'flicker':>9}" if video else ""
    cost = f"{'ms':>10} {'in':<9}{'MAC/px':>10}"
    return f"{'model':<20}{'weights':<9}{'scale':>6}{'PSNR dB':>10}{frames}{'SSIM':>9}{flicker}{cost}"


def _line(row: Row) -> str:
    named = f"{row.name:<20}{row.weights or '':<9}{row.scale:>6}{row.score.psnr:>10.3f}"
    frames = flicker = ""
    if row.frames is not None:
        seen = spread(row.frames.psnr)
        frames, flicker = f"{seen['p5']:>8.2f}{seen['minimum']:>8.2f}", f"{shown_flicker(row.frames):>9}"
    cost = "" if row.macs is None else f"{row.milliseconds:>10.1f} {row.runs_in:<9}{row.macs:>10,.0f}"
    return f"{named}{frames}{row.score.ssim:>9.4f}{flicker}{cost}"


def shown_flicker(scores: Scores) -> str:
    """In a table: 8-bit codes, or a dash where nothing stood still."""
    return "-" if scores.whole_flicker is None else f"{scores.whole_flicker:.3f}"


def _facts(row: Row) -> dict[str, Any]:
    facts = {"model": row.name, "scale": row.scale, "weights": row.weights, **vars(row.score), "macs": row.macs,
             "milliseconds": row.milliseconds, "runs_in": row.runs_in}  # fmt: skip
    return facts if row.frames is None else facts | {"scores": summary(row.frames)}


def summary(scores: Scores) -> dict[str, Any]:
    """Of a video: how its frames' scores spread, and each frame's."""
    columns = {"psnr": scores.psnr, "ssim": scores.ssim, **scores.vmaf}
    return {
        **{name: spread(values) for name, values in columns.items()},
        "flicker": scores.whole_flicker,
        "static": sum(scores.static) / len(scores.static),
        "frames": {"time": scores.times, **columns, "flicker": scores.flicker, "static": scores.static},
    }
