"""Plots as SVG, for a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, ROW, LEFT, RIGHT = 720, 22, 250, 90
HEIGHT, EDGE = 300, 50  # of a plot with two axes, and its margins
TICKS = 4
COLOURS = ("#2f6fb0", "#d9822b", "#3c9d5b", "#a64a97", "#c4453f", "#7a6fd0", "#6b7280", "#b59b00")
Point = tuple[float, float]


def colours(names: Sequence[str]) -> dict[str, str]:
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys(names))}


def bars(rows: Sequence[tuple[str, float]], unit: str) -> str:
    """A bar a row, from 0 on."""
    most = max((value for _, value in rows), default=0.0) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = [
        _row(n, name)
        + _box(LEFT, n, value * scale, COLOURS[0])
        + _text(LEFT + value * scale + 5, n, f"{value:.1f} {unit}")
        for n, (name, value) in enumerate(rows)
    ]
    return _drawing(len(rows) * ROW, parts)


def stacks(rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Shares of 1, side by side in a row, with their names when pointed at."""
    paint, parts = colours([name for _, shares in rows for name in shares]), list[str]()
    for n, (label, shares) in enumerate(rows):
        parts.append(_row(n, label))
        x = float(LEFT)
        for name, share in shares.items():
            width = share * (WIDTH - LEFT - RIGHT)
            parts.append(_box(x, n, width, paint[name], f"{name} {share:.1%}"))
            x += width
    return _drawing(len(rows) * ROW, parts) + legend(paint)


def spans(rows: Sequence[tuple[str, float, float]], unit: str) -> str:
    """Stretches of time, a row for each name."""
    names = list(dict.fromkeys(name for name, _, _ in rows))
    paint, end = colours(names), max((end for _, _, end in rows), default=0.0) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / end
    parts = [_row(n, name) for n, name in enumerate(names)]
    parts += [
        _box(
            LEFT + begin * scale,
            names.index(name),
            max(0.5, (end - begin) * scale),
            paint[name],
            f"{end - begin:.2f} {unit}",
        )
        for name, begin, end in rows
    ]
    return _drawing((len(names) + 1) * ROW, [*parts, _text(LEFT, len(names), f"0 to {end:.0f} {unit}")])


def lines(series: Mapping[str, Sequence[Point]], across: str, up: str, *, joined: bool = True) -> str:
    """Points of several series on two linear axes, y from 0 where they are joined."""
    points = [point for each in series.values() for point in each]
    if not points:
        return ""
    xs, ys = _range([x for x, _ in points], from_0=joined), _range([y for _, y in points], from_0=joined)
    paint, parts = colours(list(series)), _axes(xs, ys, across, up)
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
    return (0.0 if from_0 else low - room), high + room


def _place(value: float, within: tuple[float, float], begin: float, end: float) -> float:
    return begin + (value - within[0]) / (within[1] - within[0]) * (end - begin)


def _axes(xs: tuple[float, float], ys: tuple[float, float], across: str, up: str) -> list[str]:
    parts = [f'<path d="M{EDGE} {EDGE / 2}V{HEIGHT - EDGE}H{WIDTH - EDGE}" fill="none" stroke="currentColor"/>']
    for n in range(TICKS + 1):
        x, y = (low + (high - low) * n / TICKS for low, high in (xs, ys))
        right, down = _place(x, xs, EDGE, WIDTH - EDGE), _place(y, ys, HEIGHT - EDGE, EDGE / 2)
        parts += [
            f'<text x="{right:.0f}" y="{HEIGHT - EDGE + 16}" text-anchor="middle">{x:.3g}</text>',
            f'<text x="{EDGE - 5}" y="{down:.0f}" text-anchor="end">{y:.3g}</text>',
        ]
    return [
        *parts,
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(across)}</text>',
        f'<text x="{EDGE}" y="14">{escape(up)}</text>',
    ]


def _row(n: int, name: str) -> str:
    return f'<text x="{LEFT - 8}" y="{n * ROW + 15}" text-anchor="end">{escape(name)}</text>'


def _text(x: float, n: int, words: str) -> str:
    return f'<text x="{x:.1f}" y="{n * ROW + 15}">{escape(words)}</text>'


def _box(x: float, n: int, width: float, colour: str, title: str = "") -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect x="{x:.1f}" y="{n * ROW + 3}" width="{width:.1f}" height="{ROW - 6}" fill="{colour}">{told}</rect>'


def _drawing(height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'
