"""Numbered pictures as one video: frames/%04d.png. A name is a pattern only where no file has it literally."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from vsr.errors import InputError

RATE = Fraction(25)  # frames a second when nobody says; FFmpeg's image2 counts at this rate
NAMED = 3  # gaps said one by one
_PLACE = re.compile(r"%(?:0(\d+))?d")


@dataclass(frozen=True)
class Pattern:
    """A file's name with one %d or %0Nd in it, filled as printf does."""

    folder: Path
    before: str
    digits: int
    after: str

    def path(self, number: int) -> Path:
        return self.folder / f"{self.before}{number:0{self.digits}d}{self.after}"

    def numbers(self) -> list[int]:
        """Of the files there are, rising."""
        place = re.compile(rf"{re.escape(self.before)}(\d+){re.escape(self.after)}")
        names = [path.name for path in self.folder.glob("*")]
        found = [(int(match[1]), name) for name in names if (match := place.fullmatch(name))]
        return sorted(number for number, name in found if name == self.path(number).name)


def pattern(path: str, *, literal: bool = True) -> Pattern | None:
    """What a name stands for; None for a plain name, and, if `literal`, where a file has it as it is."""
    name = Path(path).name
    places = list(_PLACE.finditer(name))
    if len(places) != 1 or name.count("%") != 1 or literal and Path(path).exists():
        return None
    begin, end = places[0].span()
    return Pattern(Path(path).parent, name[:begin], int(places[0][1] or 0), name[end:])


def row(path: str, sequence: Pattern) -> range:
    """The numbers of an input's pictures.

    Raises:
        InputError: there is none, an empty one, or numbers are missing between the lowest and the highest.
    """
    numbers = sequence.numbers()
    if not numbers:
        raise InputError(f"{path}: no such file, and none that it is a pattern of")
    gaps = [_gap(sequence, a + 1, b - 1) for a, b in pairwise(numbers) if b != a + 1]
    if gaps:
        more = f" and {len(gaps) - NAMED} more gaps" if len(gaps) > NAMED else ""
        raise InputError(f"{path}: missing {', '.join(gaps[:NAMED])}{more}; number the pictures without gaps")
    empty = next((file for file in map(sequence.path, numbers) if not file.is_file() or not file.stat().st_size), None)
    if empty is not None:
        raise InputError(f"{empty}: empty or no file, and so no picture of {path}")
    return range(numbers[0], numbers[-1] + 1)


def files(path: str) -> list[Path]:
    """Every file an input is made of: itself, or the pictures of its sequence. Raises InputError as `row` does."""
    sequence = pattern(path)
    return [Path(path)] if sequence is None else [sequence.path(number) for number in row(path, sequence)]


def _gap(sequence: Pattern, first: int, last: int) -> str:
    name = sequence.path(first).name
    return name if first == last else f"{name} to {sequence.path(last).name}"
