"""Renders the demo clip: an evening at a lake, drawn in layers that pass at different speeds, with a melody.

    python demo/render.py demo/demo.mp4      480x270, 25 frames a second, H.264 and AAC

Everything is drawn at 1920x1080 and reduced, so that there is no aliasing. `picture(n)` gives frame n at 960x540, the
truth that an upscaled 480x270 can be compared with. Same libraries, same seed: same pixels. Needs OpenCV 5 (its fonts).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FRAMES, RATE, SAMPLES = 100, 25, 48_000
WIDTH, HEIGHT, MARGIN = 1920, 1080, 420  # of the drawing; a layer is wider by what the camera pans
SHORE = 700  # row where land meets water
SUN = np.array([1500.0, 250.0])
Image = NDArray[np.float32]


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(rows: int, columns: int, cell: float, octaves: int, seed: int) -> Image:
    """Fractal noise in 0..1: octaves of smooth random grids, the first with cells of `cell` pixels."""
    total, draw = np.zeros((rows, columns), np.float32), rng(seed)
    for octave in range(octaves):
        step = cell / 2**octave
        grid = draw.random((int(rows / step) + 3, int(columns / step) + 3), np.float32)
        matrix = np.array([[step, 0, -step * draw.random()], [0, step, -step * draw.random()]])
        total += cv2.warpAffine(grid, matrix, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT) / (
            2**octave
        )
    return (total - total.min()) / np.ptp(total)


def mix(a: Image, b: Image, weight: Image | float) -> Image:
    if isinstance(weight, np.ndarray) and weight.ndim == 2:
        weight = weight[..., None]
    return a + (b - a) * weight


def rgb(code: int) -> Image:
    """0xRRGGBB as a float colour."""
    return np.array([code >> 16, code >> 8 & 255, code & 255], np.float32)


class Layer:
    """A picture with coverage (0..255), wider than the screen; everything is drawn on both alike."""

    def __init__(self, width: int = WIDTH + MARGIN, height: int = HEIGHT) -> None:
        self.colour = np.zeros((height, width, 3), np.uint8)
        self.alpha = np.zeros((height, width), np.uint8)

    def polygon(self, points: list[tuple[float, float]], colour: Image) -> None:
        fixed = [np.round(np.array(points) * 16).astype(np.int32)]
        cv2.fillPoly(self.colour, fixed, colour.tolist(), cv2.LINE_AA, 4)
        cv2.fillPoly(self.alpha, fixed, 255, cv2.LINE_AA, 4)

    def line(self, a: tuple[float, float], b: tuple[float, float], colour: Image, thickness: int) -> None:
        p, q = ([round(v * 16) for v in point] for point in (a, b))
        cv2.line(self.colour, p, q, colour.tolist(), thickness, cv2.LINE_AA, 4)
        cv2.line(self.alpha, p, q, 255, thickness, cv2.LINE_AA, 4)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Image) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def text(self, words: str, x: int, y: int, size: int, weight: int, colour: Image) -> None:
        cv2.putText(self.colour, words, (x, y), colour.tolist(), cv2.FontFace("sans"), size, weight)

    def over(self, picture: Image, pan: float, down: float = 0.0) -> Image:
        """This layer, moved left by `pan` pixels, over `picture`."""
        matrix = np.array([[1, 0, -pan], [0, 1, down]])
        colour = cv2.warpAffine(self.colour, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        alpha = cv2.warpAffine(self.alpha, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        return mix(picture, colour.astype(np.float32), alpha.astype(np.float32) / 255)


def sky() -> Image:
    rows = np.linspace(0, 1, HEIGHT, dtype=np.float32)
    stops = [(0.0, 0x2A4A86), (0.3, 0x6C86B4), (0.5, 0xE0AE94), (0.65, 0xFBD49A), (1.0, 0xFBD49A)]
    channels = [np.interp(rows, [s for s, _ in stops], [rgb(c)[k] for _, c in stops]) for k in range(3)]
    column = np.stack(channels, -1).astype(np.float32)
    picture = np.repeat(column[:, None], WIDTH, 1)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    distance = np.hypot(x - SUN[0], y - SUN[1])
    picture = mix(picture, rgb(0xFFE9B8), 0.9 * np.exp(-distance / 300))
    return mix(picture, rgb(0xFFFBEA), np.clip(62 - distance, 0, 1))


def clouds() -> Layer:
    layer = Layer(WIDTH + MARGIN, 620)
    shape = cv2.resize(noise(620, 900, 260, 7, 3), (WIDTH + MARGIN, 620), interpolation=cv2.INTER_CUBIC)
    cover = np.clip((shape - 0.44) * 3.0, 0, 1) * np.linspace(1, 0.35, 620, dtype=np.float32)[:, None]
    light = np.clip(0.5 + 5 * (shape - np.roll(shape, 14, 0)), 0, 1)
    layer.colour[:] = mix(rgb(0xA58FA6), rgb(0xFFF1DC), light)
    layer.alpha[:] = 235 * cover
    return layer


def mountains(top: int, depth: int, seed: int, haze: float, rock: int) -> Layer:
    """A ridge lit from the sun's side, with snow on what is high and not too steep."""
    layer = Layer()
    rows, columns = layer.alpha.shape
    ridge = top + depth * (1 - noise(1, columns, 520, 8, seed)[0])
    relief = 1 - np.abs(2 * noise(rows, columns, 300, 8, seed + 1) - 1)
    slope = cv2.GaussianBlur(relief, (0, 0), 1.2)
    light = np.clip(0.5 + 34 * (slope - np.roll(slope, (2, -3), (0, 1))), 0, 1)
    y = np.arange(rows, dtype=np.float32)[:, None]
    below = (y - ridge) / depth
    snow = np.clip(6 * (0.62 - below + 0.9 * (relief - 0.6)), 0, 1) * np.clip(3 * light - 0.3, 0, 1)
    ground = mix(0.45 * rgb(rock), rgb(rock) * 1.25, light)
    picture = mix(ground, mix(rgb(0x8E9CC4), rgb(0xFFF3E4), light), snow)
    fog = np.clip(haze + 0.75 * (y - top) / (SHORE - top), 0, 0.93)
    layer.colour[:] = np.clip(mix(picture, rgb(0xE9B9A0), fog), 0, 255)
    layer.alpha[:] = 255 * (y > ridge)
    return layer


def conifer(layer: Layer, x: float, foot: float, height: float, colour: Image, draw: np.random.Generator) -> None:
    tiers = 5
    layer.box(x - height / 40, foot - height / 6, x + height / 40, foot, 0.5 * colour)
    for tier in range(tiers):
        bottom = foot - height * (0.08 + 0.17 * tier)
        wide, tall = height * (0.26 - 0.04 * tier), height * 0.32
        edge = [(x + wide * (2 * k / 8 - 1), bottom + height * 0.05 * draw.random() * (k % 2)) for k in range(9)]
        layer.polygon([*edge, (x, bottom - tall)], colour * (0.75 + 0.1 * tier))
        layer.polygon([(x, bottom), edge[-1], (x, bottom - tall)], colour * (0.95 + 0.12 * tier))


def forest() -> Layer:
    layer, draw = Layer(), rng(11)
    columns = layer.alpha.shape[1]
    hill = SHORE - 60 - 170 * noise(1, columns, 700, 4, 12)[0]
    for row in range(9):
        near = row / 8
        colours = [mix(rgb(0xB08A86), rgb(c), 0.35 + 0.65 * near) for c in (0x24493A, 0x35573A, 0x4F6034, 0x7A5A2E)]
        for x in np.arange(0, columns, 17 + 5 * near):
            place = x + 12 * draw.standard_normal()
            foot = hill[int(np.clip(place, 0, columns - 1))]
            foot = foot + (SHORE + 4 - foot) * near + 3 * draw.standard_normal()
            colour = colours[draw.choice(4, p=[0.4, 0.32, 0.2, 0.08])] * (0.85 + 0.3 * draw.random())
            conifer(layer, place, foot, (34 + 30 * near) * (0.7 + 0.6 * draw.random()), colour, draw)
    layer.alpha[SHORE:] = 0
    return layer


def bridge() -> Layer:
    """A steel truss on stone piers."""
    layer, draw, steel = Layer(), rng(21), rgb(0x8C2F22)
    deck, height, panel = 640, 74, 58
    for pier in range(90, WIDTH + MARGIN, panel * 6):
        for course in range(deck, SHORE, 10):
            for stone in range(pier - 26, pier + 26, 13):
                left = stone + (6 if course // 10 % 2 else 0)
                layer.box(left, course, left + 12, course + 9, rgb(0x9A8676) * (0.6 + 0.45 * draw.random()))
    for x in range(90 - panel * 6, WIDTH + MARGIN + panel, panel):
        layer.line((x, deck), (x, deck - height), steel, 4)
        layer.line((x, deck), (x + panel, deck - height), 1.2 * steel, 3)
        layer.line((x, deck - height), (x + panel, deck), 0.8 * steel, 3)
        for k in range(0, panel, 8):
            layer.line((x + k, deck), (x + k, deck - 13), 0.7 * steel, 1)
    for y, thickness in ((deck, 9), (deck - height, 7), (deck - 13, 2), (deck - height / 2, 2)):
        layer.line((0, y), (WIDTH + MARGIN, y), steel, thickness)
    return layer


def train(layer: Layer, front: float) -> None:
    for car in range(4):
        left, colour = front - 210 * (car + 1), rgb(0x1F5F66) if car else rgb(0x9B2335)
        layer.box(left, 588, left + 200, 634, colour)
        layer.box(left, 612, left + 200, 617, rgb(0xF0E2C0))
        layer.box(left + 4, 583, left + 196, 589, 0.6 * colour)
        for window in range(9):
            layer.box(left + 10 + 21 * window, 595, left + 24 + 21 * window, 608, rgb(0xFFE08A))
        for wheel in (24, 52, 148, 176):
            cv2.circle(layer.colour, (round((left + wheel) * 16), 634 * 16), 8 * 16, (30, 28, 30), -1, cv2.LINE_AA, 4)
            cv2.circle(layer.alpha, (round((left + wheel) * 16), 634 * 16), 8 * 16, 255, -1, cv2.LINE_AA, 4)


def balloon(layer: Layer, x: float, y: float, radius: float, turn: float) -> None:
    """Stripes on a sphere that turns, under it ropes and a woven basket."""
    v, u = np.mgrid[-1:1.35:0.0025, -1:1:0.0025].astype(np.float32)
    girth = np.where(v < 0, np.sqrt(np.clip(1 - v * v, 0, 1)), np.cos(np.clip(v, 0, 1.35) * 0.98) ** 0.8)
    across = u / np.maximum(girth, 1e-3)
    angle = np.arcsin(np.clip(across, -1, 1)) + turn
    stripe = np.floor(angle / (np.pi / 8)).astype(int) % 4
    palette = np.stack([rgb(c) for c in (0xD8402F, 0xF6E7C8, 0xE9A23B, 0x27647B)])
    band = np.abs(v - 0.05) < 0.13
    stripe = np.where(band, np.where((np.floor(angle / (np.pi / 24)) + np.floor(v / 0.086)) % 2 == 0, 1, 3), stripe)
    shade = np.clip(0.62 + 0.55 * across - 0.12 * v, 0.35, 1.15)
    picture = np.clip(palette[stripe] * shade[..., None], 0, 255)
    inside = ((np.abs(across) < 1) & (girth > 0.2)).astype(np.float32) * 255
    matrix = np.array([[radius / 400, 0, x - radius], [0, radius / 400, y - radius]])
    size = layer.alpha.shape[::-1]
    for target, source in ((layer.colour, picture), (layer.alpha, inside)):
        small = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        moved = cv2.warpAffine(small, matrix * np.array([[2, 1, 1], [1, 2, 1]]), size, flags=cv2.INTER_LINEAR)
        covered = cv2.warpAffine(inside, matrix, size) > 0
        target[covered] = moved[covered]
    for side in (-1, -0.4, 0.4, 1):
        layer.line(
            (x + side * radius * 0.2, y + radius * 1.3), (x + side * radius * 0.12, y + radius * 1.62), rgb(0x40302A), 2
        )
    for row in range(6):
        for column in range(-4, 4):
            left, top = x + column * radius * 0.034, y + radius * (1.62 + 0.036 * row)
            tone = rgb(0xA8743C) * (0.7 + 0.4 * ((row + column) % 2))
            layer.box(left, top, left + radius * 0.033, top + radius * 0.034, tone)


def mill(layer: Layer, x: int, foot: int) -> None:
    """A brick tower with a tiled cap and a gallery."""
    draw = rng(31)
    top = foot - 430
    for course in range(foot - 10, top, -10):
        half = 62 + 42 * (course - top) / 430
        shift = 12 if course // 10 % 2 else 0
        for left in np.arange(x - half - shift, x + half, 24):
            a, b = max(left, x - half), min(left + 22.5, x + half)
            if b - a > 3:
                light = 0.62 + 0.5 * ((a + b) / 2 - x + half) / (2 * half)
                layer.box(a, course, b, course + 8.5, rgb(0xB4573A) * light * (0.8 + 0.35 * draw.random()))
    for y, w, h in ((top + 60, 24, 40), (top + 190, 28, 46), (foot - 96, 44, 96)):
        layer.box(x - w / 2 - 5, y - 5, x + w / 2 + 5, y + h, rgb(0xE8D9B8))
        layer.box(x - w / 2, y, x + w / 2, y + h, rgb(0x3A2B28))
        if h < 60:
            layer.box(x - w / 2, y, x + w / 2, y + h, rgb(0xFFC860))
            layer.line((x, y), (x, y + h), rgb(0xE8D9B8), 3)
            layer.line((x - w / 2, y + h / 2), (x + w / 2, y + h / 2), rgb(0xE8D9B8), 3)
    for row in range(10):
        y0, half = top - 70 + 8 * row, 66 * np.sin(np.pi / 2 * (row + 2) / 11)
        for left in np.arange(x - half, x + half - 1, 9):
            layer.box(left, y0, min(left + 8, x + half), y0 + 9, rgb(0x4A5A63) * (0.7 + 0.5 * draw.random()))
    layer.box(x - 112, top + 132, x + 112, top + 140, rgb(0x4B3526))
    for k in range(-112, 113, 14):
        layer.line((x + k, top + 132), (x + k, top + 100), rgb(0x6B4C34), 3)
    layer.line((x - 112, top + 100), (x + 112, top + 100), rgb(0x6B4C34), 4)


def sails(layer: Layer, x: float, y: float, turn: float) -> None:
    wood, cloth = rgb(0x5A4030), rgb(0xF3E6CB)
    for arm in range(4):
        along = np.array([np.cos(turn + arm * np.pi / 2), np.sin(turn + arm * np.pi / 2)])
        across = np.array([-along[1], along[0]])

        def at(r: float, s: float, along: Image = along, across: Image = across) -> tuple[float, float]:
            return (x + r * along[0] + s * across[0], y + r * along[1] + s * across[1])

        layer.polygon([at(70, 6), at(268, 6), at(268, 34), at(70, 34)], cloth * 0.96)
        for r in range(60, 281, 18):
            layer.line(at(r, -14), at(r, 52), wood, 3)
        for s in (-14, 22, 52):
            layer.line(at(60, s), at(276, s), wood, 2)
        layer.line(at(-10, 0), at(284, 0), 0.8 * wood, 8)
    cv2.circle(layer.colour, (round(x), round(y)), 13, (0.6 * wood).tolist(), -1, cv2.LINE_AA)
    cv2.circle(layer.alpha, (round(x), round(y)), 13, 255, -1, cv2.LINE_AA)


def sign(layer: Layer, x: int, y: int) -> None:
    """A board with lettering of several sizes and a map of contour lines."""
    for post in (x + 40, x + 480):
        layer.box(post, y - 14, post + 20, y + 420, rgb(0x5B4130))
    layer.box(x - 8, y - 8, x + 548, y + 268, rgb(0x4A3426))
    layer.box(x, y, x + 540, y + 260, rgb(0xF3E8CF))
    layer.box(x, y, x + 540, y + 74, rgb(0x1F5F66))
    layer.text("LAKE ORLA", x + 22, y + 56, 56, 800, rgb(0xFFF6DF))
    layer.text("Old Mill        1.2 km", x + 22, y + 116, 32, 600, rgb(0x2B2622))
    layer.text("Ferry Landing   0.8 km", x + 22, y + 154, 28, 500, rgb(0x2B2622))
    layer.text("Ferry  8:15  10:40  13:05  16:30", x + 22, y + 190, 20, 400, rgb(0x5A2A20))
    layer.text("Please keep dogs on a lead and take", x + 22, y + 220, 17, 400, rgb(0x2B2622))
    layer.text("your litter home. Swim at your own risk.", x + 22, y + 242, 17, 400, rgb(0x2B2622))
    relief = noise(150, 160, 70, 4, 41)
    chart = layer.colour[y + 88 : y + 238, x + 366 : x + 526]
    chart[:] = mix(rgb(0xCFE3C0), rgb(0xF1E3B4), relief)
    for level in np.arange(0.15, 0.95, 0.09):
        lines, _ = cv2.findContours((relief > level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.polylines(chart, lines, True, (150, 96, 60), 1, cv2.LINE_AA)
    chart[relief < 0.3] = rgb(0x6FB0C4)


def meadow() -> Layer:
    layer, draw = Layer(), rng(51)
    columns = layer.alpha.shape[1]
    edge = 905 - 75 * noise(1, columns, 800, 3, 52)[0] + 60 * np.linspace(-1, 1, columns) ** 2
    y = np.arange(HEIGHT, dtype=np.float32)[:, None]
    layer.colour[:] = mix(
        rgb(0x55612C), rgb(0x27321B), np.clip((y - 850) / 230, 0, 1) * np.ones((1, columns), np.float32)
    )
    layer.alpha[:] = 255 * (y > edge)
    mill(layer, 640, 905)
    greens = [rgb(c) for c in (0x5E7A2E, 0x7F9638, 0xA8A545, 0x3F5A28, 0xC9B458)]
    placed = False
    for foot in np.sort(draw.uniform(850, 1130, 9000)):
        if foot > 985 and not placed:
            sign(layer, 1480, 690)
            placed = True
        x = draw.uniform(0, columns)
        if foot < edge[int(x)] + 6:
            continue
        near = (foot - 850) / 280
        tall, lean = (16 + 50 * near) * draw.uniform(0.6, 1.3), draw.normal(0, 8 + 14 * near)
        colour = greens[draw.integers(5)] * draw.uniform(0.55, 1.1) * (1.05 - 0.3 * near)
        stem = [(x, foot), (x + lean * 0.3, foot - tall * 0.6), (x + lean, foot - tall)]
        for a, b in pairwise(stem):
            layer.line(a, b, colour, 2 + int(2 * near))
        if draw.random() < 0.05:
            petals = (0xF4F0E6, 0xE5533D, 0xF2C230, 0x9C7BD0)[draw.integers(4)]
            for k in range(5):
                spot = (stem[2][0] + 5 * np.cos(k * 1.257), stem[2][1] + 5 * np.sin(k * 1.257))
                layer.line(spot, spot, rgb(petals), 6)
            layer.line(stem[2], stem[2], rgb(0xF0B020), 5)
    return layer


@dataclass(frozen=True)
class Scene:
    sky: Image
    clouds: Layer
    far: Layer
    near: Layer
    forest: Layer
    bridge: Layer
    meadow: Layer
    ripple: Image


@cache
def scene() -> Scene:
    far, near = mountains(190, 330, 5, 0.30, 0x7A6F86), mountains(400, 230, 8, 0.16, 0x6A5C5A)
    ripple = noise(HEIGHT - SHORE, WIDTH, 90, 5, 61) - 0.5
    return Scene(sky(), clouds(), far, near, forest(), bridge(), meadow(), ripple)


def lake(picture: Image, ripple: Image, time: float) -> Image:
    """The land mirrored in water that moves."""
    rows = HEIGHT - SHORE
    y, x = np.mgrid[:rows, :WIDTH].astype(np.float32)
    wave = np.sin(y * 40 / (8 + y * 0.25) * 1.6 + 9 * ripple + 5 * time) * (2 + 0.06 * y)
    source = SHORE - 1 - 1.15 * y + wave * 1.2 + 24 * ripple * y / rows
    mirror = cv2.remap(
        picture, x + 0.8 * wave, np.clip(source, 0, SHORE - 1), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    mirror = mix(mirror * 0.9, rgb(0x2B6C86), 0.15 + 0.5 * np.sqrt(y / rows))
    glint = np.exp(-(((x - SUN[0] + wave * 8) / (60 + 0.4 * y)) ** 2)) * np.clip(2 * np.sin(wave * 1.5) - 0.6, 0, 1)
    picture[SHORE:] = mix(mirror, rgb(0xFFE7B0), 0.7 * glint)
    return picture


def drawing(n: int) -> Image:
    """Frame n at 1920x1080, RGB, 0..255."""
    parts, time = scene(), n / RATE
    pan = 60 + 300 * n / (FRAMES - 1)
    picture = parts.clouds.over(parts.sky, 0.1 * pan + 6 * time)
    picture = parts.near.over(parts.far.over(picture, 0.15 * pan), 0.28 * pan)
    flying = Layer()
    balloon(flying, 1180 - 10 * time, 250 - 9 * time, 120, 0.35 * time)
    balloon(flying, 300 + 6 * time, 330 - 4 * time, 52, 2 - 0.5 * time)
    picture = flying.over(picture, 0.35 * pan)
    picture = parts.forest.over(picture, 0.5 * pan)
    rolling = Layer()
    train(rolling, 700 + 150 * time)
    picture = parts.bridge.over(rolling.over(picture, 0.65 * pan), 0.65 * pan)
    picture = parts.meadow.over(lake(picture, parts.ripple, time), pan)
    turning = Layer()
    sails(turning, 640, 440, 0.3 + 0.55 * time)
    return np.clip(turning.over(picture, pan), 0, 255)


def picture(n: int) -> NDArray[np.uint8]:
    """Frame n at 960x540, (540, 960, 3) RGB."""
    return np.round(cv2.resize(drawing(n), (960, 540), interpolation=cv2.INTER_AREA)).astype(np.uint8)


def melody(seconds: float) -> NDArray[np.float32]:
    """Four chords, plucked one note after the other; (1, samples) mono."""
    clock = np.arange(int(seconds * SAMPLES)) / SAMPLES
    sound = np.zeros_like(clock)
    for bar, chord in enumerate(((57, 60, 64, 69), (53, 57, 60, 65), (48, 55, 60, 64), (55, 59, 62, 67))):
        for step, note in enumerate(chord):
            since = np.clip(clock - bar - 0.25 * step, 0, None)
            pitch = 440 * 2 ** ((note - 69) / 12)
            tone = sum(np.sin(2 * np.pi * pitch * k * since) / k**2 for k in (1, 2, 3, 4))
            sound += tone * np.exp(-2.2 * since) * (1 - np.exp(-400 * since))
    return (0.2 * sound / np.abs(sound).max())[None].astype(np.float32)


def write(path: str, note: Callable[[str], None] = print) -> None:
    with av.open(path, "w", options={"movflags": "+faststart"}) as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "21", "preset": "veryslow", "tune": "animation"})
        video.width, video.height, video.pix_fmt = 480, 270, "yuv420p"
        sound = out.add_stream("aac", rate=SAMPLES, layout="mono")
        sound.bit_rate = 64_000
        for n in range(FRAMES):
            full = av.VideoFrame.from_ndarray(picture(n), format="rgb24")
            frame = full.reformat(480, 270, "yuv420p", interpolation="BICUBIC")
            frame.pts, frame.time_base = n, Fraction(1, RATE)
            out.mux(video.encode(frame))
            if n % RATE == 0:
                note(f"{n} of {FRAMES} frames")
        samples = melody(FRAMES / RATE)
        for start in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "mono")
            block.sample_rate, block.pts, block.time_base = SAMPLES, start, Fraction(1, SAMPLES)
            out.mux(sound.encode(block))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))


if __name__ == "__main__":
    write(sys.argv[1])
