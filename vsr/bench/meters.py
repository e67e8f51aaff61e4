"""What the whole machine did meanwhile: energy of its processors, and the time that others had them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

RAPL = Path("/sys/class/powercap")
STAT = Path("/proc/stat")
TICK = os.sysconf("SC_CLK_TCK")
IDLE = (3, 4)  # fields of /proc/stat's first line: idle, and waiting for a disk
COUNTED = 8  # the fields that make up all time; those after them are in it already


@dataclass(frozen=True)
class Energy:
    """Counters of the processors' packages by RAPL, in microjoules, each with where it begins anew."""

    counters: tuple[tuple[int, int], ...]

    @classmethod
    def now(cls, folder: Path = RAPL) -> Energy | None:
        """None where the machine has none, or they may not be read."""
        packages = sorted(path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1)
        try:
            found = [[int((p / name).read_text()) for name in ("energy_uj", "max_energy_range_uj")] for p in packages]
        except OSError:
            return None
        return cls(tuple((value, most) for value, most in found)) if found else None

    def until(self, later: Energy) -> float:
        """Joules."""
        pairs = zip(self.counters, later.counters, strict=True)
        return sum((after - before) % (most + 1) for (before, most), (after, _) in pairs) / 1e6


@dataclass(frozen=True)
class Busy:
    """Seconds since the machine started, summed over its cores: all, and those in which they worked.

    What a host took away from a virtual machine counts as work of others.
    """

    whole: float
    worked: float

    @classmethod
    def now(cls, path: Path = STAT) -> Busy | None:
        """None where the system doesn't tell."""
        try:
            ticks = [int(word) for word in path.read_text().split("\n", 1)[0].split()[1 : 1 + COUNTED]]
        except (OSError, ValueError):
            return None
        return cls(sum(ticks) / TICK, (sum(ticks) - sum(ticks[field] for field in IDLE)) / TICK)

    def others(self, later: Busy, own: float) -> float | None:
        """Share of all cores' time until `later` that was others', 0..1, where `own` seconds were the caller's."""
        whole = later.whole - self.whole
        return min(1.0, max(0.0, (later.worked - self.worked - own) / whole)) if whole > 0 else None
