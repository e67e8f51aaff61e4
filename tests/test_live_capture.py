"""Windows and screens captured from an X server of the test's own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest

from screens import Painted, until, xvfb
from vsr.errors import InputError, UsageError
from vsr.frame import Chroma, Frame
from vsr.live.capture import Region, ScreenSource
from vsr.live.protocol import Captured
from vsr.live.x11 import Display, Window, chosen
from vsr.pictures import bgr
from vsr.settings import Grab

RED, GREEN = (0, 0, 255), (0, 255, 0)  # B, G, R


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with xvfb() as name:
        yield name


class Watching:
    """Takes a source's frames in a thread, as the loop does, and keeps what the last one was like."""

    def __init__(self, source: ScreenSource, said: list[str]) -> None:
        self.source, self.said, self.error = source, said, ""
        self.size, self.corner, self.far = (0, 0), (0, 0, 0), (0, 0, 0)
        self.taken: list[tuple[int, float]] = []
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        try:
            for captured in self.source.frames():
                assert isinstance(captured, Captured)
                picture = pixels(captured.frame)
                self.size = (captured.frame.width, captured.frame.height)
                self.corner, self.far = colour(picture, 0, 0), colour(picture, -1, -1)
                self.taken.append((captured.number, captured.at))
                captured.frame.release()
        except InputError as error:
            self.error = str(error)

    @property
    def ended(self) -> bool:
        return not self.thread.is_alive()


def pixels(frame: Frame) -> np.ndarray:
    return bgr(frame).to_ndarray()


def colour(picture: np.ndarray, row: int, column: int) -> tuple[int, int, int]:
    """Exact to the few codes that Y, U, V cost."""
    values = picture[row, column].astype(int)
    return tuple(int(0 if v < 6 else 255 if v > 249 else v) for v in values)  # type: ignore[return-value]


@contextmanager
def watching(name: str, window: Painted, by: Grab = "auto") -> Iterator[Watching]:
    display, said = Display(name), list[str]()
    source = ScreenSource(display, window.id, by=by, rate=50, say=said.append)
    watched = Watching(source, said)
    try:
        until(lambda: bool(watched.taken) or watched.ended)
        yield watched
    finally:
        source.close()
        watched.thread.join(10)
        assert not watched.thread.is_alive()
        assert source.leased == 0
        display.close()


@pytest.mark.parametrize("by", ["x11grab", "mss"])
@pytest.mark.parametrize("size", [(160, 120), (161, 121)])
def test_a_window_is_captured_sample_by_sample(screen: str, by: Grab, size: tuple[int, int]) -> None:
    window = Painted(screen, "plain", "red", (30, 20, *size))
    window.fill(0x00FF00, size[0] - 8, size[1] - 8, 8, 8)
    with watching(screen, window, by) as watched:
        assert watched.size == size
        assert (watched.corner, watched.far) == (RED, GREEN)
        assert watched.source.label == f'window "plain" {size[0]}x{size[1]}'
    window.close()


def test_numbers_and_times_rise(screen: str) -> None:
    window = Painted(screen, "plain", "red", (0, 0, 64, 48))
    with watching(screen, window) as watched:
        until(lambda: len(watched.taken) > 20)
    numbers, times = zip(*watched.taken, strict=True)
    assert numbers == tuple(range(len(numbers)))
    assert all(a < b for a, b in pairwise(times))
    assert np.median(np.diff(times)) > 0.008  # 50 a second were asked for, half an interval apart at least
    window.close()


def test_a_window_is_followed(screen: str) -> None:
    """Covered, moved, resized, hidden and closed, one after the other."""
    window = Painted(screen, "followed", "red", (100, 100, 200, 100))
    with watching(screen, window) as watched:
        cover = Painted(screen, "cover", "green", (50, 50, 400, 400))
        count = len(watched.taken)
        until(lambda: len(watched.taken) > count + 10)
        assert (watched.corner, watched.far) == (RED, RED)
        window.move(1200, 900)  # half off the screen
        count = len(watched.taken)
        until(lambda: len(watched.taken) > count + 10)
        assert (watched.corner, watched.far) == (RED, RED)
        window.resize(300, 220)
        until(lambda: watched.size == (300, 220))
        assert any("now 300x220" in line for line in watched.said)
        window.resize(90, 50)
        until(lambda: watched.size == (90, 50))
        window.hide()
        until(lambda: any("is hidden" in line for line in watched.said))
        count = len(watched.taken)
        window.resize(120, 80)
        window.show()
        until(lambda: watched.size == (120, 80) and len(watched.taken) > count)
        assert watched.said[-1].endswith("is shown again") or "shown again" in "\n".join(watched.said)
        window.close()
        until(lambda: watched.ended)
        assert watched.said[-1] == 'window "followed" 200x100 was closed'
        assert not watched.error
        cover.close()


def test_a_window_that_is_made_anew_is_followed(screen: str) -> None:
    window = Painted(screen, "anew", "red", (100, 100, 200, 100))
    with watching(screen, window) as watched:
        window.replace("green", (90, 90, 160, 120))
        until(lambda: watched.size == (160, 120) and watched.corner == GREEN)
        window.resize(100, 100)
        until(lambda: watched.size == (100, 100))
        window.close()
        until(lambda: watched.ended)
        assert not watched.error
        assert watched.said[-1].endswith("was closed")


def test_mss_says_when_it_cannot(screen: str) -> None:
    window = Painted(screen, "off", "red", (1200, 900, 200, 200))  # 80x124 of it on the screen
    with watching(screen, window, "mss") as watched:
        until(lambda: watched.ended)
        assert "can't be captured" in watched.error
    window.close()


def test_without_composite_it_is_said() -> None:
    with xvfb("640x480", "-extension", "Composite") as name:
        window = Painted(name, "plain", "red", (0, 0, 64, 48))
        with watching(name, window) as watched:
            assert watched.said == ["this X server has no Composite extension: what covers the window is captured too"]


def test_a_server_that_goes_is_said() -> None:
    with xvfb("640x480") as name:
        display, said = Display(name), list[str]()
        window = Painted(name, "plain", "red", (0, 0, 64, 48))
        watched = Watching(ScreenSource(display, window.id, say=said.append), said)
        until(lambda: bool(watched.taken))
    until(lambda: watched.ended)
    assert watched.error == f"the X server {name} has gone"


def test_a_region_of_the_screen(screen: str) -> None:
    window = Painted(screen, "region", "red", (300, 200, 100, 80))
    display = Display(screen)
    source = ScreenSource(display, region=Region.of("110x90+300+200"), rate=50)
    frames = source.frames()
    captured = next(frames)
    picture = pixels(captured.frame)
    assert picture.shape == (90, 110, 3)
    assert colour(picture, 79, 99) == RED
    assert colour(picture, 80, 100) == (0, 0, 0)
    captured.frame.release()
    source.close()
    assert list(frames) == []
    with pytest.raises(InputError, match=r"1000x90\+300\+200 reaches beyond the screen, which is 1280x1024"):
        ScreenSource(display, region=Region.of("1000x90+300+200"))
    display.close()
    window.close()


@pytest.mark.parametrize("text", ["", "640", "0x480", "640x480+1", "axb", "640x480-1-1"])
def test_a_region_is_checked(text: str) -> None:
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        Region.of(text)


@pytest.mark.parametrize("chroma", ["444", "420"])
def test_chroma_lies_where_the_facts_say(screen: str, chroma: Chroma) -> None:
    """A ramp of blue, read back through swscale from where its chroma is said to be."""
    window = Painted(screen, "ramp", "white", (0, 0, 128, 64))
    for x in range(128):
        window.fill(2 * x, x, 0, 1, 64)
    display = Display(screen)
    source = ScreenSource(display, window.id, chroma=chroma)
    frames = source.frames()
    frame = next(frames).frame
    u = frame.planes[1].astype(float)[10]
    blue = 2.0 * np.arange(128)
    step = 128 // len(u)
    expected = 128 + 224 * (blue * (1 - 0.0722) / 255 / 1.8556)
    if chroma == "420":
        assert frame.facts.colour.chroma_location == "center"
        expected = expected.reshape(-1, 2).mean(1)
    assert step == (2 if chroma == "420" else 1)
    assert abs(np.mean(u[8:-8] - expected[8:-8])) < 0.25  # a shift by half a sample is 0.44
    frame.release()
    source.close()
    assert list(frames) == []
    display.close()
    window.close()


def test_windows_are_listed_and_found(screen: str) -> None:
    doom, other = Painted(screen, "Doom (E1M1)", "red", (0, 0, 64, 48)), Painted(screen, "doom", "red", (0, 0, 9, 9))
    display = Display(screen)
    titles = {window.title: window for window in display.windows()}
    assert {"Doom (E1M1)", "doom"} <= set(titles)
    assert (titles["Doom (E1M1)"].width, titles["Doom (E1M1)"].height) == (64, 48)
    assert display.find("e1m\\d").id == doom.id
    assert display.find("doom").id == other.id  # exactly this title
    assert display.find(f"0x{doom.id:x}").id == doom.id
    with pytest.raises(InputError, match="2 windows fit 'DOOM'"):
        display.find("DOOM")
    with pytest.raises(InputError, match="no window's title fits 'quake'"):
        display.find("quake")
    with pytest.raises(InputError, match="no window 0x7"):
        display.find("0x7")
    doom.hide()
    assert doom.id not in {window.id for window in display.windows()}
    display.close()
    doom.close()
    other.close()


def test_a_window_is_clicked(screen: str) -> None:
    window = Painted(screen, "clicked", "red", (600, 600, 100, 100))
    display = Display(screen)
    found: list[Window] = []
    thread = threading.Thread(target=lambda: found.append(display.find("click")), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            command = ["xdotool", "mousemove", "650", "650", "click", "1"]
            subprocess.run(command, env={"DISPLAY": screen}, check=True)
            thread.join(0.3)
    except FileNotFoundError:
        pytest.skip("xdotool isn't installed")
    assert [w.id for w in found] == [window.id]
    display.close()
    window.close()


def test_without_a_server_it_says_what_is_missing() -> None:
    pytest.importorskip("xcffib")
    with pytest.raises(InputError, match="DISPLAY is not set"):
        Display("")
    with pytest.raises(InputError, match="DISPLAY is :987, where none answers"):
        Display(":987")


def test_a_pattern_is_checked() -> None:
    with pytest.raises(UsageError, match="no regular expression"):
        chosen([], "(")
