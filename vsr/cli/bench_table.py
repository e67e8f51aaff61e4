"""vsr-bench's tables."""

from __future__ import annotations

import sys
from statistics import median

from rich.console import Console
from rich.table import Table

from vsr.bench.compare import BUSY, Difference
from vsr.bench.result import Measured, Result, Stage

WIDEST = 160  # columns
LEGEND = (
    "cold, first: seconds to the first frame, with nothing compiled and as always; J: a frame; PSNR: beside bicubic\n"
)


def show(result: Result) -> None:
    """On standard output: cases, stages, what is absent, what to know of the machine."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    console = _console()
    sheet = result.machine
    console.print(
        f"{sheet['processor']}, {sheet['usable_cores']} cores, {' '.join(sheet['extensions'])}; {result.clip}"
    )
    console.print(_cases(result.measured))
    console.print(LEGEND)
    console.print(_stages(result.measured))
    for engine in dict.fromkeys(measured.engine for measured in result.measured):
        console.print(f"ran: {engine}", markup=False)
    for missing in result.absent:
        console.print(f"absent: {missing.why}", markup=False)
    others = [done.others for measured in result.measured for done in measured.rounds if done.others is not None]
    if others and median(others) > BUSY:
        console.print(f"other processes had {median(others):.0%} of the machine: these figures are too low")


def show_differences(differences: list[Difference], remarks: list[str]) -> None:
    """On standard output: a line for each measure of each case, what to know about both, and the outcome."""
    console = _console()
    table = _table("", ("time of", "change", "chance", "rounds", ""))
    for each in differences:
        rounds = f"{each.rounds[0]}, {each.rounds[1]}"
        table.add_row(str(each.case), each.measure, f"{each.change:+.1%}", f"{each.chance:.2g}", rounds, each.verdict)
    console.print(table)
    for line in remarks:
        console.print(line, markup=False)
    if all(each.verdict in ("same", "faster") for each in differences):
        console.print("nothing got slower")


def _console() -> Console:
    """As wide as the tables are, whatever the terminal is: cut figures are none."""
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, WIDEST)
    return console


def _cases(results: list[Measured]) -> Table:
    table = _table("medians over rounds", ("fps", "cold", "first", "whole", "MiB", "J", "PSNR", "SSIM"))
    for measured in results:
        rounds, quality = measured.rounds, measured.quality
        joules = [done.joules / measured.frames for done in rounds if done.joules is not None]
        table.add_row(
            measured.case.name,
            f"{median(done.fps for done in rounds):.1f}",
            f"{measured.cold.first_frame:.2f}" if measured.cold else "",
            f"{median(done.first_frame for done in rounds):.2f}",
            f"{median(done.seconds for done in rounds):.2f}",
            f"{median(done.peak_mib for done in rounds):.0f}",
            f"{median(joules):.2f}" if joules else "",
            f"{quality.psnr:.2f} ({quality.psnr - quality.bicubic_psnr:+.2f})" if quality else "",
            f"{quality.ssim:.4f}" if quality else "",
        )
    return table


def _stages(results: list[Measured]) -> Table:
    table = _table("milliseconds a call", ("stage", "calls", "p50", "p95", "p99", "share"))
    for measured in results:
        for name, stage in measured.stages.items():
            table.add_row(measured.case.name, name, *_times(stage), f"{stage.share:.0%}")
        for name, stage in measured.alone.items():
            table.add_row(measured.case.name, f"alone: {name}", *_times(stage), "")
    return table


def _times(stage: Stage) -> tuple[str, ...]:
    return str(stage.calls), *(f"{value:.2f}" for value in (stage.p50, stage.p95, stage.p99))


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table
