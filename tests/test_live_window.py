"""The window on an X server of the test's own, grabbed back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from screens import Painted, until, xvfb
from vsr.errors import OutputError
from vsr.frame import Chroma, ChromaLocation, Colour, Frame, PlanarFormat, TrackFacts
from vsr.live import overlay
from vsr.live.grab import Place, X11Grab
from vsr.live.painter import fitted
from vsr.live.protocol import Shown, Snapshot, Spread
from vsr.live.window import KEYS, Window
from vsr.live.x11 import Display
from vsr.pictures import upright

SIZE = (160, 120)
KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
SPREAD = Spread(p50=12.3, p95=23.4, p99=34.5)


class Console:
    """A loop's, as far as a window sees it."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.shown = 35.0

    def snapshot(self) -> Snapshot:
        return Snapshot(
            captured=60.0,
            new=35.0,
            shown=self.shown,
            latency=SPREAD,
            stages={"wait": SPREAD, "upscale": SPREAD},
            rung="m4c16 int8",
            every=1,
            dropped=7,
            decision="",
        )

    def step(self, by: int) -> None:
        self.steps.append(by)


class Silent:
    """A source that never begins."""

    label, rate, sound = 'window "game" 80x60', Fraction(60), None

    def frames(self) -> Iterator[Any]:
        return iter(())

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    for library in ("glfw", "moderngl"):
        pytest.importorskip(library)
    before = os.environ.get("DISPLAY")
    with xvfb("640x480") as name:
        os.environ["DISPLAY"] = name  # GLFW takes no other
        yield name
    if before is None:
        del os.environ["DISPLAY"]
    else:
        os.environ["DISPLAY"] = before


@contextmanager
def opened(console: Console | None = None, **options: Any) -> Iterator[Window]:
    window = Window(vsync=False, **options)
    try:
        if console is not None:
            window.begin(console, Silent())  # type: ignore[arg-type]
        yield window
    finally:
        window.close()


def grabbed(screen: str) -> np.ndarray:
    """What is in the one window there, B, G, R."""
    display = Display(screen)
    (found,) = [w for w in display.windows() if w.title.startswith("vsr")]
    place = Place(found.id, 0, 0, found.width, found.height, found.x, found.y, True)
    display.close()
    grab = X11Grab(screen, place, 60, cursor=False)
    picture = grab.grab()
    rows = np.frombuffer(picture.planes[0], np.uint8).reshape(picture.height, -1)
    pixels = rows[:, : 4 * picture.width].reshape(picture.height, picture.width, 4)[..., :3].copy()
    grab.close()
    return pixels


def flat(codes: tuple[int, int, int], size: tuple[int, int], colour: Colour | None = None) -> Frame:
    format = PlanarFormat(chroma="444")
    planes = tuple(np.full(shape, code, np.uint8) for shape, code in zip(format.shapes(*size), codes, strict=True))
    facts = TrackFacts(colour=colour or Colour(range=1, matrix=1))
    return Frame(format=format, width=size[0], height=size[1], planes=planes, facts=facts)


def shown(frame: Frame, source: Frame, *, repeated: bool = False) -> Shown:
    return Shown(frame=frame, source=source, at=0.0, number=0, ready=0.0, rung="m4c16 int8", repeated=repeated)


DARK, BRIGHT = flat((60, 128, 128), (80, 60)), flat((180, 128, 128), SIZE)
GREYS = {"dark": round((60 - 16) * 255 / 219), "bright": round((180 - 16) * 255 / 219)}


def smooth(format: PlanarFormat, colour: Colour, size: tuple[int, int]) -> Frame:
    """Waves, of samples where `colour` puts them."""
    step, planes = 1 << (format.depth - 8), []
    for index, (rows, columns) in enumerate(format.shapes(*size)):
        y, x = np.mgrid[:rows, :columns]
        wave = np.sin(x / columns * 9 + index) + np.cos(y / rows * 7 - index)
        planes.append((step * (128 + 30 * wave)).astype(format.dtype))
    return Frame(format=format, width=size[0], height=size[1], planes=tuple(planes), facts=TrackFacts(colour=colour))


def expected(frame: Frame) -> np.ndarray:
    """B, G, R by the equations of H.273, chroma linearly between its samples."""
    colour, step, white = frame.facts.colour, 1 << (frame.format.depth - 8), frame.format.white
    y, x = np.arange(frame.height, dtype=float), np.arange(frame.width, dtype=float)
    planes = [frame.planes[0].astype(float)]
    sites = {"left": (0.0, 0.5), "center": (0.5, 0.5), "topleft": (0.0, 0.0)}
    for plane in frame.planes[1:]:
        right, below = sites[colour.chroma_location]
        across = x if frame.format.chroma == "444" else (x - right) / 2
        down = (y - below) / 2 if frame.format.chroma == "420" else y
        wide = np.array([np.interp(across, np.arange(plane.shape[1]), row) for row in plane])
        planes.append(np.array([np.interp(down, np.arange(plane.shape[0]), row) for row in wide.T]).T)
    if frame.format.chroma == "grey":
        planes += [np.full_like(planes[0], 128 * step)] * 2
    full = colour.range == 2
    luma = planes[0] / white if full else (planes[0] - 16 * step) / (219 * step)
    u, v = ((plane - 128 * step) / (white if full else 224 * step) for plane in planes[1:])
    red, blue = KR_KB[colour.matrix]
    r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([b, g, r], -1), 0, 1) * 255


@pytest.mark.parametrize(
    ("chroma", "depth", "range", "matrix", "location"),
    [
        ("444", 8, 1, 1, "left"),
        ("444", 8, 2, 5, "left"),
        ("444", 10, 1, 9, "left"),
        ("444", 8, 1, 4, "left"),
        ("444", 8, 1, 7, "left"),
        ("420", 8, 1, 1, "left"),
        ("420", 8, 1, 6, "center"),
        ("420", 10, 2, 1, "topleft"),
        ("422", 8, 1, 1, "left"),
        ("grey", 8, 1, 1, "left"),
        ("grey", 16, 2, 1, "left"),
    ],
)
@pytest.mark.parametrize("size", [SIZE, (161, 121)])
def test_the_window_shows_the_frame(
    screen: str, chroma: Chroma, depth: int, range: int, matrix: int, location: ChromaLocation, size: tuple[int, int]
) -> None:
    format = PlanarFormat(chroma=chroma, depth=depth)
    frame = smooth(format, Colour(range=range, matrix=matrix, chroma_location=location), size)
    with opened() as window:
        window.show(shown(frame, frame))
        difference = np.abs(grabbed(screen).astype(float) - expected(frame))
    interpolated = chroma in ("420", "422")  # software OpenGL does it in 8 bits, and chroma counts double
    assert difference.max() < (3.5 if interpolated else 1.6)
    assert difference.mean() < (0.8 if interpolated else 0.5)


@pytest.mark.parametrize("sides", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 1, 1, 0)])
def test_turned_pictures_are_shown_upright(screen: str, sides: tuple[int, int, int, int]) -> None:
    a, b, c, d = (65536 * side for side in sides)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    colour = Colour(range=1, matrix=1, chroma_location="left")
    frame = smooth(PlanarFormat(chroma="444"), colour, SIZE)
    facts = replace(frame.facts, display_matrix=matrix)
    with opened() as window:
        window.show(shown(replace(frame, facts=facts), frame))
        picture = grabbed(screen)
    wanted = upright(expected(frame), matrix)
    assert picture.shape == wanted.shape
    assert np.abs(picture - wanted).max() < 1.6


def test_pixels_are_made_square(screen: str) -> None:
    wide = replace(BRIGHT, facts=replace(BRIGHT.facts, aspect=Fraction(4, 3)))
    with opened() as window:
        window.show(shown(wide, DARK))
        assert grabbed(screen).shape == (120, 213, 3)


def test_hdr_is_said(screen: str) -> None:
    said: list[str] = []
    with opened(say=said.append) as window:
        window.show(shown(flat((180, 128, 128), SIZE, Colour(range=1, matrix=9, transfer=16)), DARK))
    assert len(said) == 1
    assert "without tone mapping" in said[0]


def test_split_and_off_show_the_source(screen: str) -> None:
    with opened() as window:
        window.show(shown(BRIGHT, DARK))
        assert set(grabbed(screen).ravel()) == {GREYS["bright"]}
        window.press("split")
        window.idle()
        row = grabbed(screen)[60, :, 1]
        assert set(row[:78]) == {GREYS["dark"]}
        assert set(row[82:]) == {GREYS["bright"]}
        assert 255 in row[78:82]
        window.press("split")
        window.press("toggle")
        window.idle()
        assert set(grabbed(screen).ravel()) == {GREYS["dark"]}


def test_repeats_are_not_drawn_again(screen: str) -> None:
    with opened() as window:
        window.show(shown(BRIGHT, DARK))
        window.show(shown(DARK, DARK, repeated=True))
        assert set(grabbed(screen).ravel()) == {GREYS["bright"]}


def dark_rows(picture: np.ndarray) -> int:
    return int((picture[:, 0, 0] < GREYS["bright"]).sum())


def test_text_lets_nothing_through() -> None:
    panel = overlay.panel(["fps: captured 60.0"])
    assert panel[..., 0].max() == 255
    assert (panel[..., 3] == np.maximum(panel[..., 0], overlay.GROUND)).all()
    assert overlay.panel(["fps"], 2.0).shape[0] == 2 * overlay.panel(["fps"]).shape[0]


def test_figures_lie_over_the_picture(screen: str) -> None:
    console = Console()
    with opened(console) as window:
        window.show(shown(flat((180, 128, 128), (600, 200)), DARK))
        first = grabbed(screen)
        assert first[:, :, 0].max() == 255  # text
        assert (first[0, 0] < GREYS["bright"] / 2).all()  # its ground, nearly black
        assert (first[-1, -1] == GREYS["bright"]).all()
        console.shown = 12.0
        until(lambda: window.idle() or not np.array_equal(grabbed(screen), first))  # type: ignore[func-returns-value]
        window.press("overlay")
        window.idle()
        assert dark_rows(grabbed(screen)) == dark_rows(first) - overlay.LINE  # without the keys
        window.press("overlay")
        window.idle()
        assert set(grabbed(screen).ravel()) == {GREYS["bright"]}


def test_the_text_has_every_figure() -> None:
    text = "\n".join(overlay.lines(Console().snapshot(), "80x60 to 160x120", enlarged=False, keys="q quit"))
    for figure in ("m4c16 int8", "160x120", "captured 60.0", "new 35.0", "shown 35.0", "dropped 7", "q quit"):
        assert figure in text
    for figure in ("p50 12.3", "p95 23.4", "p99 34.5", "wait 12.3", "upscale 12.3"):
        assert figure in text
    half = replace(Console().snapshot(), every=2)
    assert "m4c16 int8, every second frame" in overlay.lines(half, "", enlarged=False, keys="")[0]
    assert "OFF" in overlay.lines(Console().snapshot(), "", enlarged=True, keys="")[0]


@pytest.mark.parametrize(
    ("picture", "window", "scaling", "rectangle"),
    [
        ((160, 120), (160, 120), "fit", (0, 0, 160, 120)),
        ((160, 120), (640, 360), "fit", (80, 0, 480, 360)),
        ((160, 120), (500, 300), "integer", (90, 30, 320, 240)),
        ((160, 120), (100, 100), "integer", (0, 12, 100, 75)),
        ((1000, 1), (100, 100), "fit", (0, 49, 100, 1)),
    ],
)
def test_pictures_fit(picture: Any, window: Any, scaling: Any, rectangle: Any) -> None:
    assert fitted(picture, window, scaling) == rectangle


def test_integer_scaling_keeps_samples_square(screen: str) -> None:
    rng = np.random.default_rng(0)
    luma = rng.integers(16, 235, (60, 80)).astype(np.uint8)
    neutral = np.full_like(luma, 128)
    frame = Frame(
        format=PlanarFormat(chroma="444"), width=80, height=60, planes=(luma, neutral, neutral), facts=BRIGHT.facts
    )
    with opened(scaling="integer", fullscreen=True) as window:
        window.show(shown(frame, DARK))
        until(lambda: window.idle() or grabbed(screen).shape[1] == 640)  # type: ignore[func-returns-value]
        picture = grabbed(screen)
    assert picture.shape == (480, 640, 3)
    assert np.array_equal(picture[::8, ::8], picture[7::8, 7::8])
    assert np.abs(picture[::8, ::8, 0] - (luma.astype(float) - 16) * 255 / 219).max() < 1.1


def keyed(screen: str, *words: str) -> None:
    try:
        subprocess.run(["xdotool", *words], env={"DISPLAY": screen}, check=True)
    except FileNotFoundError:
        pytest.skip("xdotool isn't installed")


def test_keys_and_mouse(screen: str, tmp_path: Path) -> None:
    """Real ones, by the X server."""
    console, said = Console(), list[str]()
    with opened(console, pairs=tmp_path, say=said.append) as window:
        window.show(shown(BRIGHT, DARK))
        keyed(screen, "search", "--name", "^vsr", "windowfocus", "--sync")
        keyed(screen, "key", "Up", "Down", "Down", "o", "o", "p", "s")
        until(lambda: window.idle() or bool(said))  # type: ignore[func-returns-value]
        assert console.steps == [-1, 1, 1]
        window.idle()
        display = Display(screen)
        (found,) = [w for w in display.windows() if w.title.startswith("vsr")]
        assert found.title == 'vsr: window "game" 80x60'
        display.close()
        keyed(screen, "mousemove", str(found.x + 40), str(found.y + 60), "click", "1")

        def line() -> int:
            window.idle()
            return int(np.argmax(grabbed(screen)[60, :, 1] == 255))

        until(lambda: 38 <= line() <= 41)
        assert window.wants()
        keyed(screen, "key", "q")
        until(lambda: window.idle() or not window.wants())  # type: ignore[func-returns-value]
    pair = {path.stem.rpartition("-")[2]: cv2.imread(str(path)) for path in tmp_path.glob("*.png")}
    assert {name: picture.shape for name, picture in pair.items()} == {"source": (60, 80, 3), "result": (120, 160, 3)}
    assert {name: int(picture[5, 5, 0]) for name, picture in pair.items()} == {
        "source": GREYS["dark"],
        "result": GREYS["bright"],
    }
    assert "saved" in said[0]


def test_the_game_keeps_the_keyboard(screen: str) -> None:
    game = Painted(screen, "game", "red", (0, 0, 64, 48))
    game.focus()
    with opened() as window:
        window.show(shown(BRIGHT, DARK))
        window.idle()
        assert game.focused
        window.press("full")
        window.idle()
        assert game.focused
    game.close()


def test_a_pair_that_cannot_be_saved_is_said(screen: str, tmp_path: Path) -> None:
    said: list[str] = []
    with opened(pairs=tmp_path / "nowhere", say=said.append) as window:
        window.show(shown(BRIGHT, DARK))
        window.press("pair")
    assert len(said) == 1
    assert said[0].startswith("no pair saved: ")


def test_every_key_is_glfws() -> None:
    glfw = pytest.importorskip("glfw")
    assert all(hasattr(glfw, f"KEY_{name}") for name, _, _ in KEYS)


def test_without_a_screen_it_says_so() -> None:
    pytest.importorskip("glfw")
    before = os.environ.pop("DISPLAY", None)
    try:
        with pytest.raises(OutputError, match="no window can be opened"):
            Window()
    finally:
        if before is not None:
            os.environ["DISPLAY"] = before
