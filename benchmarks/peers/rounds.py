"""Runs the peers, interleaved: round by round, each once in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.once import Judged, Order, Timed
from benchmarks.peers.rows import MEASURE
from vsr.bench.builds import children_seconds
from vsr.bench.meters import Busy
from vsr.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[[Order], dict[str, Any]]  # raises Unavailable


@dataclass(kw_only=True)
class Row:
    """A peer's results; `others` as in vsr.bench.result.Round, of each round."""

    name: str
    judged: Judged
    timed: list[Timed] = field(default_factory=list)
    others: list[float | None] = field(default_factory=list)

    @property
    def fps(self) -> float:
        return median(each.fps for each in self.timed)

    @property
    def peak_mib(self) -> float:
        return max(each.peak_mib for each in self.timed)


@dataclass(kw_only=True)
class Table:
    """Of one clip: who was measured, and why the others weren't."""

    clip: str
    rows: list[Row] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def times(self, row: Row) -> float | None:
        """How many times as fast as this row vsr's default is."""
        measure = next((each for each in self.rows if each.name == MEASURE), None)
        return measure.fps / row.fps if measure else None

    def content(self) -> dict[str, Any]:
        """For JSON: all rounds, and what is shown of them."""
        shown = [
            {"fps": row.fps, "vsr_times": self.times(row), "peak_mib": row.peak_mib, **asdict(row)} for row in self.rows
        ]
        return {"clip": self.clip, "rows": shown, "absent": self.absent}


def compare(
    table: Table, orders: Sequence[Order], rounds: int, run: Run, say: Callable[[str], None] = lambda line: None
) -> None:
    """Fills the table: first what each peer is judged by, which warms caches; then the rounds.

    Whose frame takes longer than a run should is timed in the first round only.
    """
    for order in orders:
        say(f"PSNR: {order.peer}")
        try:
            table.rows.append(Row(name=order.peer, judged=Judged(**run(replace(order, work="judge")))))
        except Unavailable as error:
            table.absent[order.peer] = str(error)
    wanted = {order.peer: order for order in orders}
    for number in range(rounds):
        for row in list(table.rows):
            if row.timed and row.fps * wanted[row.name].seconds < 1:
                continue
            say(f"round {number + 1} of {rounds}: {row.name}")
            busy, own = Busy.now(), children_seconds()
            try:
                row.timed.append(Timed(**run(wanted[row.name])))
            except Unavailable as error:
                table.rows.remove(row)
                table.absent[row.name] = str(error)
                continue
            later, own = Busy.now(), children_seconds() - own
            row.others.append(busy.others(later, own) if busy and later else None)


def process(order: Order, cache: Path) -> dict[str, Any]:
    """Carries out an order in a process of its own. Raises Unavailable with the last line it said."""
    command = [sys.executable, "-m", "benchmarks.peers.once"]
    environment = {**os.environ, "VSR_CACHE": str(cache)}
    given = json.dumps(asdict(order))
    done = subprocess.run(command, input=given, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome
