"""Whether one result is slower than another beyond noise.

For each case that both have, the rounds' times of both are compared by the Wilcoxon-Mann-Whitney rank-sum test, exact
and two-sided (Mann and Whitney 1947), at a level that Holm's step-down method (1979) shares among all tests.
A difference that the test finds counts when the Hodges-Lehmann estimate of it is over a minimum too. Rounds in which
others had more than BUSY of the machine are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from statistics import median
from types import MappingProxyType
from typing import Literal

from vsr.bench.result import Case, Measured, Result, Round
from vsr.errors import InputError

LEVEL = 0.05  # chance that a comparison of two equal results shows anything at all, were the minimum not there
BUSY = 0.05  # share of all cores
Verdict = Literal["slower", "faster", "same", "can't tell"]


@dataclass(frozen=True)
class Measure:
    """What is compared: a time of a round, and the least change of it, as a share, that counts."""

    time: Callable[[Round], float]
    least: float


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "frame": Measure(lambda done: 1 / done.fps, 0.0275),
        "first frame": Measure(lambda done: done.first_frame, 0.1),
    }
)


@dataclass(frozen=True)
class Difference:
    """Of one measure of one case.

    Args:
        change: of the time, as a share of what it was; above 0 is slower.
        chance: that equal results differ so much either way, by the rank-sum test; 1 where nothing can be told.
        rounds: that were compared, before and after.
    """

    case: Case
    measure: str
    change: float
    chance: float
    rounds: tuple[int, int]
    verdict: Verdict = "can't tell"


def compare(before: Result, after: Result) -> list[Difference]:
    """A line for each measure of each case that both have.

    Raises InputError when they have none in common.
    """
    known = {measured.case: measured for measured in before.measured}
    pairs = [(known[measured.case], measured) for measured in after.measured if measured.case in known]
    if not pairs:
        raise InputError("the two results have no case in common; measure both with the same options")
    tests = [_tested(*pair, name) for pair in pairs for name in MEASURES]
    levels = _levels([test.chance for test in tests])
    return [replace(test, verdict=_verdict(test, level, len(tests))) for test, level in zip(tests, levels, strict=True)]


def remarks(before: Result, after: Result) -> list[str]:
    """What to know before believing a comparison: the machines' differences, cases of one side, busy rounds."""
    sheets = before.machine, after.machine
    names = sorted({name for sheet in sheets for name in sheet} - {"date", "mhz"})
    changed = [(name, *(sheet.get(name, "none") for sheet in sheets)) for name in names]
    lines = [f"{name}: {a}, then {b}" for name, a, b in changed if a != b]
    sides = [{measured.case for measured in result.measured} for result in (before, after)]
    lines += [f"only in one of them: {case}" for case in sorted(sides[0] ^ sides[1], key=str)]
    for name, result in (("before", before), ("after", after)):
        rounds = [done for measured in result.measured for done in measured.rounds]
        if busy := len(rounds) - len(_quiet(rounds)):
            lines.append(
                f"{name}: {busy} of {len(rounds)} rounds left out, other work had over {BUSY:.0%} of the machine"
            )
    return lines


def _tested(before: Measured, after: Measured, name: str) -> Difference:
    """The test of one measure; what it means is still to be said."""
    old, new = ([MEASURES[name].time(done) for done in _quiet(measured.rounds)] for measured in (before, after))
    change = median(b / a for a in old for b in new) - 1 if old and new else 0.0
    chance = min(1.0, 2 * (rank_sum(old, new) if change > 0 else rank_sum(new, old)))
    return Difference(before.case, name, change, chance, (len(old), len(new)))


def _quiet(rounds: Sequence[Round]) -> list[Round]:
    return [done for done in rounds if done.others is None or done.others <= BUSY]


def _levels(chances: Sequence[float]) -> list[float]:
    """The level of each test by Holm's method: 0 from the first on, in order of chance, that isn't under its own."""
    levels, passed = [0.0] * len(chances), True
    for done, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        level = LEVEL / (len(chances) - done)
        passed = passed and chances[index] <= level
        levels[index] = level if passed else 0.0
    return levels


def _verdict(test: Difference, level: float, tests: int) -> Verdict:
    if 2 / comb(sum(test.rounds), test.rounds[0]) > LEVEL / tests:
        return "can't tell"
    if test.chance > level or abs(test.change) < MEASURES[test.measure].least:
        return "same"
    return "slower" if test.change > 0 else "faster"


def rank_sum(low: Sequence[float], high: Sequence[float]) -> float:
    """Chance of ranks of `high` at least as high in all, were both of one distribution; 1 where a side is empty.

    Exact for any ties: equal values share the mean of their ranks, and all ways to choose the ranks of `high` count.
    """
    values = sorted([*low, *high])
    doubled = {value: 2 * values.index(value) + 1 + values.count(value) for value in values}
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in high)]  # of choosing so many ranks: how many have which sum
    for value in values:
        for count in range(len(high), 0, -1):
            for total, number in ways[count - 1].items():
                ways[count][total + doubled[value]] = ways[count].get(total + doubled[value], 0) + number
    seen = sum(doubled[value] for value in high)
    return sum(number for total, number in ways[-1].items() if total >= seen) / comb(len(values), len(high))
