"""The tables of README.md against the tests there are."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = (FOLDER / "README.md").read_text()
ROWS = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", TABLE, re.MULTILINE)


def test_every_case_is_there_once() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 116))


def test_every_test_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", TABLE)
    assert len(named) > 80
    missing = [f"{file}::{name}" for file, name in named if not re.search(rf"^def {name}\(", text(file), re.MULTILINE)]
    assert missing == []


def test_a_case_without_test_says_why() -> None:
    assert [number for number, tests in ROWS if "::" not in tests and len(tests) < 10] == []


def text(file: str) -> str:
    path = FOLDER.parent / file
    return path.read_text() if path.is_file() else ""
