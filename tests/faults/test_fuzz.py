"""A minute of tests/faults/fuzz.py, and the judge itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzz import HANG, Worker, damage, fuzz, judge, sources

from clips import Clip

SECONDS = float(os.environ.get("FUZZ_SECONDS", 60))


@pytest.mark.slow
def test_random_damage_ends_well(tmp_path: Path) -> None:
    outcomes = fuzz(SECONDS, 0, tmp_path, lambda outcome: None)
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    assert {outcome.code for outcome in outcomes} >= {0, 3, 5}
    assert len(outcomes) > SECONDS / 4


def test_cases_come_again(tmp_path: Path) -> None:
    files = sources(tmp_path)
    for seed in range(8):
        (first, what), data = damage(seed, files, tmp_path), []
        for _ in range(2):
            assert damage(seed, files, tmp_path) == (first, what)
            data.append(first.read_bytes() if "packets" not in what else b"")  # Matroska's tracks have random numbers
        assert data[0] == data[1]


@pytest.mark.parametrize(
    ("code", "said", "left", "wrong"),
    [
        (None, "hangs: no end within 20 s", (), "hangs"),
        (1, "vsr-run: internal error", (), "exit code 1"),
        (7, "vsr-run: was wrong", (), "exit code 7"),
        (3, "Traceback (most recent call last)", (), "exit code 3: Traceback"),
        (3, "", ("out.mp4",), "the output exists"),
        (0, "", (), "the output is missing"),
        (3, "", (".out.mp4.1.part",), "left behind: .out.mp4.1.part"),
        (5, "", ("out.mp4", "report.json"), "12 frames can be decoded of 13"),
        (3, "vsr-run: refused", (), ""),
    ],
)
def test_the_judge(tmp_path: Path, code: int | None, said: str, left: tuple[str, ...], wrong: str) -> None:
    for name in left:
        if name == "out.mp4":
            Clip().write(tmp_path / name)
        else:
            (tmp_path / name).write_text('{"frames_written": 13}')
    found = judge(code, said, tmp_path, tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert found.startswith(wrong) if wrong and "output" not in wrong else wrong in found
    assert bool(found) == bool(wrong)


def test_a_worker_that_hangs_or_dies_is_replaced(tmp_path: Path) -> None:
    worker = Worker()
    try:
        code, said = worker.run([str(Clip().write(tmp_path / "a.mp4")), "--sink", "null"], seconds=0.001)
        assert (code, said) == (None, "hangs: no end within 0.001 s")
        worker.kill()
        code, said = worker.run(["missing.mp4", "out.mp4"])
        assert code is None
        assert "died" in said
        code, said = worker.run(["missing.mp4", "out.mp4"], seconds=HANG)
        assert (code, said) == (3, "vsr-run: missing.mp4: no such file\n")
    finally:
        worker.close()
