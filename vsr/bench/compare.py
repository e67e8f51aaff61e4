"""Whether one result is slower than another beyond noise.

For each case that both have, the rounds' times of both are compared by an exact two-sided test, at a level that Holm's
step-down method (1979) shares among all tests: by Wilcoxon's signed-rank test (1945) where builds took turns of the
machine and their rounds are pairs, else by the Wilcoxon-Mann-Whitney rank-sum test (Mann and Whitney 1947). What the
test finds counts when the Hodges-Lehmann estimate of it is over a minimum too. Of rounds that aren't pairs, those in
which others had more than BUSY of the machine are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, comb, exp, log, log2
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
    """What is compared: a time of a round, and the least change of it that counts, as a share: of pairs, and else."""

    time: Callable[[Round], float]
    paired: float
    apart: float


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "frame": Measure(lambda done: 1 / done.fps, 0.02, 0.0275),
        "first frame": Measure(lambda done: done.first_frame, 0.05, 0.1),
    }
)


@dataclass(frozen=True)
class Difference:
    """Of one measure of one case.

    Args:
        change: of the time, as a share of what it was; above 0 is slower.
        chance: that equal results differ so much either way, by the test; 1 where nothing can be told.
        rounds: that were compared, before and after.
        surest: the least chance that so many rounds can have.
        least: change that counts.
    """

    case: Case
    measure: str
    change: float
    chance: float
    rounds: tuple[int, int]
    surest: float
    least: float
    verdict: Verdict = "can't tell"


def compare(before: Result, after: Result) -> list[Difference]:
    """A line for each measure of each case that both have.

    Raises InputError when they have none in common.
    """
    known = {measured.case: measured for measured in before.measured}
    pairs = [(known[measured.case], measured) for measured in after.measured if measured.case in known]
    if not pairs:
        raise InputError("the two results have no case in common; measure both with the same options")
    tested = _paired if paired(before, after) else _apart
    tests = [tested(*pair, name) for pair in pairs for name in MEASURES]
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
    for name, result in () if paired(before, after) else (("before", before), ("after", after)):
        rounds = [done for measured in result.measured for done in measured.rounds]
        if busy := len(rounds) - len(_quiet(rounds)):
            lines.append(
                f"{name}: {busy} of {len(rounds)} rounds left out, other work had over {BUSY:.0%} of the machine"
            )
    return lines


def pairs_needed(cases: int) -> int:
    """Rounds by which builds that take turns can be told apart at all."""
    return ceil(log2(2 * len(MEASURES) * cases / LEVEL))


def paired(before: Result, after: Result) -> bool:
    """Whether the builds took turns."""
    return bool(before.together) and before.together == after.together


def _paired(before: Measured, after: Measured, name: str) -> Difference:
    """The test of one measure of builds that took turns; what it means is still to be said."""
    measure = MEASURES[name]
    ratios = [log(measure.time(b) / measure.time(a)) for a, b in zip(before.rounds, after.rounds, strict=True)]
    walsh = [(a + b) / 2 for n, a in enumerate(ratios) for b in ratios[n:]]
    chance = min(1.0, 2 * min(signed_rank(ratios), signed_rank([-ratio for ratio in ratios])))
    count = len(ratios)
    change = exp(median(walsh)) - 1 if ratios else 0.0
    return Difference(before.case, name, change, chance, (count, count), 2 / 2**count, measure.paired)


def _apart(before: Measured, after: Measured, name: str) -> Difference:
    """The same of builds that were measured one after the other."""
    measure = MEASURES[name]
    old, new = ([measure.time(done) for done in _quiet(measured.rounds)] for measured in (before, after))
    change = median(b / a for a in old for b in new) - 1 if old and new else 0.0
    chance = min(1.0, 2 * (rank_sum(old, new) if change > 0 else rank_sum(new, old)))
    rounds = len(old), len(new)
    return Difference(before.case, name, change, chance, rounds, 2 / comb(sum(rounds), rounds[0]), measure.apart)


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
    if test.surest > LEVEL / tests:
        return "can't tell"
    if test.chance > level or abs(test.change) < test.least:
        return "same"
    return "slower" if test.change > 0 else "faster"


def signed_rank(values: Sequence[float]) -> float:
    """Chance of ranks of the positive ones at least as high in all, were either sign as likely; 1 where there are none.

    Exact for any ties: equal sizes share the mean of their ranks, all ways to choose signs count, zeros are left out.
    """
    sizes = sorted(abs(value) for value in values if value)
    doubled = {size: 2 * sizes.index(size) + 1 + sizes.count(size) for size in sizes}
    ways = {0: 1}  # of choosing signs: how many have which sum
    for size in sizes:
        for total, number in list(ways.items()):
            ways[total + doubled[size]] = ways.get(total + doubled[size], 0) + number
    seen = sum(doubled[value] for value in values if value > 0)
    return sum(number for total, number in ways.items() if total >= seen) / (1 << len(sizes))


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
