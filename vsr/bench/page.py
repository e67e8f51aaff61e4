"""A result as one HTML page that needs no other file and nothing from the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from statistics import median
from typing import Any

from vsr.bench import svg
from vsr.bench.result import Case, Measured, Result
from vsr.bench.run import pixels

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em}
svg{max-width:100%;height:auto;font-size:12px;fill:currentColor}table{border-collapse:collapse}td{padding:0 1em 0 0}
.key{margin-right:1.2em;white-space:nowrap}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}
:root{color-scheme:light dark}"""


def page(result: Result) -> str:
    sections = "".join(f"<h2>{escape(title)}</h2>{drawing}" for title, drawing in _plots(result.measured) if drawing)
    absent = "".join(f"<li>{escape(missing.why)}</li>" for missing in result.absent)
    sheet = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(_words(value))}</td></tr>" for name, value in result.machine.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>vsr-bench</title><style>{STYLE}</style>"
        f"<h1>vsr-bench</h1><p>vsr {escape(result.vsr)}, {escape(result.clip)}; medians over rounds, each a run of the "
        f"whole program.</p>{sections}{f'<h2>Absent</h2><ul>{absent}</ul>' if absent else ''}"
        f"<h2>Machine</h2><table>{sheet}</table></html>\n"
    )


def megapixels(case: Case) -> float:
    """Of a frame of the result."""
    width, height = pixels(case.size)
    return width * height * case.scale**2 / 1e6


def fps(measured: Measured) -> float:
    return median(done.fps for done in measured.rounds)


def _plots(results: list[Measured]) -> Iterator[tuple[str, str]]:
    yield "Frames a second", svg.bars([(each.case.name, fps(each)) for each in results], "fps")
    scores: dict[str, list[svg.Point]] = {}
    for each in results:
        if each.quality:
            scores.setdefault(replace(each.case, sink="").name, []).append((fps(each), each.quality.psnr))
    yield "PSNR against speed", svg.lines(scores, "frames a second, into each sink", "dB, luma", joined=False)
    paint = svg.colours([name for each in results for name in each.stages])
    shares = [(each.case.name, {name: stage.share for name, stage in each.stages.items()}) for each in results]
    yield "Where the stages' time goes", svg.stacks(shares, paint)
    yield "Scaling by threads", _scaling(results, "threads", lambda case: case.threads, threads=0)
    yield "Scaling by size", _scaling(results, "megapixels of a frame of the result", megapixels, size="")
    for each in results:
        yield f"A stretch of {each.case.name}", svg.spans(each.timeline, paint, "ms") if each.timeline else ""


def _scaling(results: list[Measured], across: str, value: Callable[[Case], float], **without: Any) -> str:
    """Megapixels of the result a second over one option of cases that are else the same; nothing for a single value."""
    series: dict[Case, list[Measured]] = {}
    for each in results:
        series.setdefault(replace(each.case, **without), []).append(each)
    points = {
        case.name: [(value(each.case), fps(each) * megapixels(each.case)) for each in group]
        for case, group in series.items()
        if len(group) > 1
    }
    return svg.lines(points, across, "megapixels of the result a second")


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
