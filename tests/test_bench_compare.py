"""vsr-bench compare: equal results show nothing, a twentieth more time is found, in noise like that of real ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from random import Random

import pytest

from vsr.bench.compare import Difference, compare, rank_sum, remarks, signed_rank
from vsr.bench.result import Case, Measured, Result, Round
from vsr.cli.bench import ROUNDS, main
from vsr.errors import InputError

NOISE = 0.015  # of a round, relative
SPIKES, SPIKE = 0.05, 0.2  # how many rounds something else slows down, and by how much at most
DRIFT = 0.005  # between two results, as a whole
WANDER = 0.08  # of the machine from round to round
SINKS = ("null", "md5", "x264")


def result(
    seed: int, *, slower: float = 0.0, rounds: int = ROUNDS, others: float | None = 0.01, steady: bool = False
) -> Result:
    """The default matrix as if measured; "md5" slowed down."""
    random = Random(seed)
    whole = 1 if steady else random.gauss(1, DRIFT)

    def time(base: float) -> float:
        spike = random.uniform(0, SPIKE) if random.random() < SPIKES and not steady else 0.0
        return base * whole * (random.gauss(1, NOISE) + spike)

    measured = []
    for sink, base in zip(SINKS, (0.02, 0.021, 0.045), strict=True):
        slow = 1 + slower * (sink == "md5")
        done = [
            Round(fps=1 / time(base * slow), seconds=3.0, first_frame=time(0.6), peak_mib=340.0, others=others)
            for _ in range(rounds)
        ]
        measured.append(Measured(case=Case(network="m4c16", sink=sink), frames=120, rounds=done))
    return Result(vsr="0", machine={"cores": 2}, clip="scene", measured=measured)


def pair(seed: int, *, slower: float = 0.0) -> tuple[Result, Result]:
    """Of two builds that took turns on a machine whose speed changes from round to round, for both alike."""
    random, before, after = (
        Random(-seed),
        result(2 * seed, steady=True),
        result(2 * seed + 1, slower=slower, steady=True),
    )
    for measured in zip(before.measured, after.measured, strict=True):
        for number in range(ROUNDS):
            pace = random.gauss(1, WANDER)
            for each in measured:
                done = each.rounds[number]
                each.rounds[number] = replace(done, fps=pace * done.fps, first_frame=done.first_frame / pace)
    before.together = after.together = str(seed)
    return before, after


def found(differences: list[Difference]) -> list[tuple[str, str, str]]:
    return [(d.case.sink, d.measure, d.verdict) for d in differences if d.verdict != "same"]


def test_equal_results_show_nothing_in_twenty_of_twenty() -> None:
    assert [found(compare(result(2 * n), result(2 * n + 1))) for n in range(20)] == [[]] * 20


def test_a_twentieth_more_time_is_found_in_nineteen_of_twenty() -> None:
    verdicts = [found(compare(result(2 * n), result(2 * n + 1, slower=0.05))) for n in range(20)]
    assert verdicts.count([("md5", "frame", "slower")]) >= 19


def test_builds_that_took_turns_are_compared_pair_by_pair() -> None:
    assert [found(compare(*pair(n))) for n in range(20)] == [[]] * 20
    verdicts = [found(compare(*pair(n, slower=0.05))) for n in range(20)]
    assert verdicts.count([("md5", "frame", "slower")]) >= 19


def test_a_twentieth_less_is_faster() -> None:
    assert found(compare(result(0, slower=0.05), result(1))) == [("md5", "frame", "faster")]


def test_a_change_below_the_minimum_does_not_count_however_sure() -> None:
    before = result(0)
    rounds = [replace(done, fps=50 + n / 1000) for n, done in enumerate(before.measured[0].rounds)]
    before.measured[0].rounds = rounds
    after = result(0)
    after.measured[0].rounds = [replace(done, fps=done.fps * 0.985) for done in rounds]
    difference = compare(before, after)[0]
    assert (difference.verdict, difference.chance < 1e-4) == ("same", True)
    assert difference.change == pytest.approx(1 / 0.985 - 1, rel=1e-3)


def test_too_few_rounds_cannot_tell() -> None:
    assert {d.verdict for d in compare(result(0, rounds=3), result(1, slower=0.5, rounds=3))} == {"can't tell"}


def test_disturbed_rounds_are_left_out_and_said() -> None:
    quiet, busy = result(0), result(1, slower=0.5, others=0.4)
    assert {d.verdict for d in compare(quiet, busy)} == {"can't tell"}
    assert remarks(quiet, busy) == ["after: 45 of 45 rounds left out, other work had over 5% of the machine"]
    unknown = result(1, slower=0.5, others=None)
    assert found(compare(quiet, unknown)) == [("md5", "frame", "slower")]


def test_other_machines_and_cases_are_said() -> None:
    one, other = result(0), result(1)
    other.machine = {"cores": 4}
    del other.measured[0]
    assert remarks(one, other) == [
        "cores: 2, then 4",
        "only in one of them: m4c16 540p x2 auto auto into null",
    ]
    other.measured = []
    with pytest.raises(InputError, match="no case in common"):
        compare(one, other)


@pytest.mark.parametrize(("low", "high"), [([1, 2, 4], [3, 5, 6, 7]), ([1, 1, 2], [1, 2, 2]), ([3, 4], [1, 2])])
def test_the_rank_sum_is_exact(low: list[float], high: list[float]) -> None:
    values = sorted([*low, *high])
    rank = {value: values.index(value) + (values.count(value) + 1) / 2 for value in values}
    sums = [sum(rank[values[i]] for i in chosen) for chosen in combinations(range(len(values)), len(high))]
    expected = sum(s >= sum(rank[value] for value in high) for s in sums) / len(sums)
    assert rank_sum(low, high) == pytest.approx(expected)
    assert rank_sum([], high) == rank_sum(low, []) == 1


@pytest.mark.parametrize("values", [[1, -2, 4, 8], [1, 1, -2, 3, -3], [0, 2, 0], [-1, -2], [0]])
def test_the_signed_rank_is_exact(values: list[float]) -> None:
    sizes = sorted(abs(value) for value in values if value)
    rank = {size: sizes.index(size) + (sizes.count(size) + 1) / 2 for size in sizes}
    seen = sum(rank[value] for value in values if value > 0)
    sums = [sum(rank[s] for s, up in zip(sizes, ups, strict=True) if up) for ups in product([0, 1], repeat=len(sizes))]
    assert signed_rank(values) == pytest.approx(sum(each >= seen for each in sums) / len(sums))


def test_the_command_exits_with_1_when_something_got_slower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, each in (("a", result(0)), ("b", result(1)), ("c", result(1, slower=0.06))):
        (tmp_path / f"{name}.json").write_text(each.to_json())
    a, b, c = (str(tmp_path / f"{name}.json") for name in "abc")
    assert main(["compare", a, b]) == 0
    assert "nothing got slower" in capsys.readouterr().out
    assert main(["compare", a, c]) == 1
    assert "slower" in capsys.readouterr().out
    assert main(["compare", c, a]) == 0
    assert main(["compare", a, str(tmp_path / "none.json")]) == 3
    assert "none.json: No such file" in capsys.readouterr().err


def test_the_command_says_when_nothing_can_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, each in (("a", result(0, rounds=2)), ("b", result(1, rounds=2))):
        (tmp_path / f"{name}.json").write_text(each.to_json())
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 3
    assert "too few" in capsys.readouterr().err
