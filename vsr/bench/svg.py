"""Plots as SVG, for a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, ROW, RIGHT = 720, 22, 90
LETTER = 7.5  # pixels, of the wider fonts at 12 pixels
HEIGHT, EDGE = 300, 50  # of a plot with two axes, and its margins
TICKS = 5  # of an axis, at most
COLOURS = ("#2f6fb0", "#d9822b", "#3c9d5b", "#a64a97", "#c4453f", "#7a6fd0", "#6b7280", "#b59b00")
GRID = 'stroke="currentColor" stroke-opacity="0.15"'
THIN = 1.0  # pixels that a stretch of time takes at least
Point = tuple[float, float]


def colours(names: Sequence[str]) -> dict[str, str]:
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys(names))}


def bars(rows: Sequence[tuple[str, float]], unit: str) -> str:
    """A bar a row, from 0 on."""
    left = _left(name for name, _ in rows)
    scale = (WIDTH - left - RIGHT) / (max((value for _, value in rows), default=0.0) or 1.0)
    parts = [
        _label(left, n, name)
        + _box(left, n, value * scale, COLOURS[0])
        + _text(left + value * scale + 5, n, f"{value:.1f} {unit}")
        for n, (name, value) in enumerate(rows)
    ]
    return _drawing(len(rows) * ROW, parts)


def stacks(rows: Sequence[tuple[str, Mapping[str, float]]], paint: Mapping[str, str]) -> str:
    """Shares of 1, side by side in a row, in the colours of their names."""
    left, parts = _left(label for label, _ in rows), list[str]()
    for n, (label, shares) in enumerate(rows):
        parts.append(_label(left, n, label))
        x = left
        for name, share in shares.items():
            width = share * (WIDTH - left - RIGHT)
            parts.append(_box(x, n, width, paint[name], f"{name} {share:.1%}"))
            x += width
    return _drawing(len(rows) * ROW, parts) + legend(paint)


def spans(rows: Sequence[tuple[str, float, float]], paint: Mapping[str, str], unit: str) -> str:
    """Stretches of time, a row for each name, in their order and colours in `paint`."""
    begun = {name for name, _, _ in rows}
    names, last = [name for name in paint if name in begun], max((end for _, _, end in rows), default=0.0) or 1.0
    left = _left(paint)
    scale = (WIDTH - left - RIGHT) / last
    parts = [_label(left, n, name) for n, name in enumerate(names)]
    for name, begin, end in rows:
        x, width, told = left + begin * scale, max(THIN, (end - begin) * scale), f"{name} {end - begin:.2f} {unit}"
        parts.append(_box(x, names.index(name), width, paint[name], told))
    return _drawing((len(names) + 1) * ROW, [*parts, _text(left, len(names), f"0 to {last:.0f} {unit}")])


def lines(series: Mapping[str, Sequence[Point]], across: str, up: str, *, joined: bool = True) -> str:
    """Points of several series on two linear axes, y from 0 where they are joined."""
    points = [point for each in series.values() for point in each]
    if not points:
        return ""
    xs, ys = _range([x for x, _ in points], from_0=joined), _range([y for _, y in points], from_0=joined)
    paint, parts = colours(list(series)), _axes(xs, ys, across, up, whole=all(x % 1 == 0 for x, _ in points))
    for name, each in series.items():
        placed = [(_place(x, xs, EDGE, WIDTH - EDGE), _place(y, ys, HEIGHT - EDGE, EDGE / 2)) for x, y in sorted(each)]
        if joined:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{paint[name]}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{paint[name]}"><title>{escape(name)}</title></circle>'
            for x, y in placed
        ]
    return _drawing(HEIGHT, parts) + legend(paint)


def legend(paint: Mapping[str, str]) -> str:
    return "".join(
        f'<span class="key"><i style="background:{c}"></i>{escape(name)}</span>' for name, c in paint.items()
    )


def _range(values: Sequence[float], *, from_0: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
    return (0.0 if from_0 else max(0.0, low - room)), high + room


def _place(value: float, within: tuple[float, float], begin: float, end: float) -> float:
    return begin + (value - within[0]) / (within[1] - within[0]) * (end - begin)


def _axes(xs: tuple[float, float], ys: tuple[float, float], across: str, up: str, *, whole: bool) -> list[str]:
    right, bottom, top = WIDTH - EDGE, HEIGHT - EDGE, EDGE / 2
    parts = [f'<path d="M{EDGE} {top}V{bottom}H{right}" fill="none" stroke="currentColor"/>']
    for value, shown in ticks(*xs, whole=whole):
        x = _place(value, xs, EDGE, right)
        parts.append(f'<path d="M{x:.1f} {bottom}V{top}" {GRID}/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{shown}</text>')
    for value, shown in ticks(*ys):
        y = _place(value, ys, bottom, top)
        parts.append(f'<path d="M{EDGE} {y:.1f}H{right}" {GRID}/>')
        parts.append(f'<text x="{EDGE - 5}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    return [
        *parts,
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(across)}</text>',
        f'<text x="{EDGE}" y="14">{escape(up)}</text>',
    ]


def ticks(low: float, high: float, *, whole: bool = False) -> list[tuple[float, str]]:
    """The multiples of 1, 2 or 5 times a power of ten in between, and how they are written; `whole`: no fractions."""
    power = 10.0 ** floor(log10((high - low) / TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= (high - low) / TICKS)
    step = max(1.0, step) if whole else step
    decimals = max(0, -floor(log10(step)))
    return [(n * step, f"{n * step:.{decimals}f}") for n in range(ceil(low / step), floor(high / step) + 1)]


def _left(labels: Iterable[str]) -> float:
    """Room for the longest of them, at the left."""
    return LETTER * max(map(len, labels), default=0) + 8


def _label(left: float, n: int, name: str) -> str:
    return f'<text x="{left - 8}" y="{n * ROW + 15}" text-anchor="end">{escape(name)}</text>'


def _text(x: float, n: int, words: str) -> str:
    return f'<text x="{x:.1f}" y="{n * ROW + 15}">{escape(words)}</text>'


def _box(x: float, n: int, width: float, colour: str, title: str = "") -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect x="{x:.1f}" y="{n * ROW + 3}" width="{width:.1f}" height="{ROW - 6}" fill="{colour}">{told}</rect>'


def _drawing(height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'
