"""Source: a window or a part of the screen of an X server, frame by frame, whatever becomes of it meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from threading import Event
from typing import TYPE_CHECKING

from vsr.errors import InputError, UsageError
from vsr.frame import Chroma
from vsr.live.grab import Grabber, Missed, Place, available, open_grabber
from vsr.live.intake import Intake, screen_facts
from vsr.live.protocol import Captured
from vsr.settings import Grab

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from vsr.live.x11 import Display

MICROSECOND = Fraction(1, 1_000_000)
PATIENCE = 2.0  # seconds in which a window that is there may refuse its picture
TICK = 0.02  # seconds between looks at a hidden window
UNSHIELDED = "this X server has no Composite extension: what covers the window is captured too"
NO_X11GRAB = "captured by mss, more slowly and with what covers it: this PyAV has no x11grab"


@dataclass(frozen=True)
class Region:
    """A rectangle of the screen, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.x}+{self.y}"

    @classmethod
    def of(cls, text: str) -> Region:
        """From "WIDTHxHEIGHT+X+Y" as X writes it; +X+Y may be left out. Raises UsageError for other texts."""
        parts = re.fullmatch(r"(\d+)x(\d+)(?:\+(\d+)\+(\d+))?", text)
        width, height, x, y = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0, 0)
        if not width or not height:
            raise UsageError(f"--screen {text}: a region is WIDTHxHEIGHT+X+Y, e.g. 640x480+100+50")
        return cls(x, y, width, height)


class Scene:
    """What is captured of a display: one window, or a region of the screen.

    Args:
        region: of the window given; None for all of it.

    Raises:
        InputError: no such window, or the region reaches beyond the screen.
    """

    def __init__(self, display: Display, window: int, region: Region | None = None) -> None:
        self._display, self._window, self._region = display, window, region
        self.shielded = display.watch(window)
        self._place = self._look()
        if self._place is None:
            raise InputError(f"there is no window 0x{window:x}")

    def now(self) -> Place | None:
        """Where it is; None once it is closed. Raises InputError when the server has gone."""
        happened = self._display.happened()
        if "DestroyNotify" in happened:  # its program may have made another of the same number
            with suppress(InputError):  # `_look` tells
                self._display.watch(self._window)
        if happened:
            self._place = self._look()
        return self._place

    def _look(self) -> Place | None:
        found, region = self._display.window(self._window), self._region
        if found is None:
            return None
        if region is None:
            return Place(self._window, 0, 0, found.width, found.height, found.x, found.y, found.visible)
        if region.x + region.width > found.width or region.y + region.height > found.height:
            raise InputError(f"the region {region} reaches beyond the screen, which is {found.width}x{found.height}")
        return Place(self._window, region.x, region.y, region.width, region.height, region.x, region.y, found.visible)


class ScreenSource:
    """Captures a window or a region at a constant rate, as `vsr.live.protocol.Source`.

    A window is followed: its new size when it is resized, its picture wherever it moves; a hidden one is waited for,
    and its closing ends the frames. Under other windows it stays whole where the server has Composite.

    Args:
        window: id; None for the screen.
        rate: frames a second.
        cursor: with the mouse pointer.
        chroma: of the frames: "444" keeps every pixel's colour, "420" is what most encoders want.
        by: which program grabs.
        say: is told what becomes of the window.
    """

    sound = None

    def __init__(
        self,
        display: Display,
        window: int | None = None,
        region: Region | None = None,
        *,
        rate: int = 60,
        cursor: bool = False,
        chroma: Chroma = "444",
        by: Grab = "auto",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._display, self._cursor, self._by, self._say = display, cursor, available(by), say
        self._scene = Scene(display, display.root if window is None else window, region)
        found = display.window(display.root if window is None else window)
        area = str(region or (found and found.size))
        self.label = f"screen {display.name} {area}" if window is None else str(found)
        self._rate = rate
        self.rate: Fraction | None = Fraction(rate)
        self._facts, self._intake, self._closed = screen_facts(chroma), Intake(chroma), Event()
        if not self._scene.shielded:
            say(UNSHIELDED)
        if self._by != by and self._by == "mss":
            say(NO_X11GRAB)

    @property
    def leased(self) -> int:
        """Frames nobody has released yet."""
        return self._intake.leased

    def frames(self) -> Iterator[Captured]:
        begin = time.monotonic()
        for number, picture in enumerate(self._pictures()):
            at = time.monotonic()
            pts = round((at - begin) / MICROSECOND)
            yield Captured(self._intake.frame(picture, self._facts, pts, MICROSECOND), at, number)

    def _pictures(self) -> Iterator[VideoFrame]:
        missing: float | None = None  # since when
        while (place := self._awaited()) is not None:
            try:
                with closing(self._grabber(place)) as grabber:
                    while not self._closed.is_set() and self._steady(grabber):
                        yield grabber.grab()
                        missing = None
            except Missed as error:
                missing = missing or time.monotonic()
                if time.monotonic() - missing > PATIENCE:
                    raise InputError(f"{self.label} can't be captured ({error})") from error
                self._closed.wait(TICK)

    def _grabber(self, place: Place) -> Grabber:
        return open_grabber(self._by, self._display.name, place, self._rate, cursor=self._cursor)

    def _steady(self, grabber: Grabber) -> bool:
        place = self._scene.now()
        if place is None or not place.visible:
            return False
        if grabber.fits(place):
            return True
        self._say(f"{self.label}: now {place.width}x{place.height} at {place.across},{place.down}")
        return False

    def _awaited(self) -> Place | None:
        """Where it is once it can be seen; None when it, or the source, was closed."""
        told = False
        while not self._closed.is_set():
            place = self._scene.now()
            if place is None:
                self._say(f"{self.label} was closed")
                return None
            if place.visible:
                if told:
                    self._say(f"{self.label} is shown again")
                return place
            if not told:
                self._say(f"{self.label} is hidden; going on when it is shown again")
                told = True
            self._closed.wait(TICK)
        return None

    def close(self) -> None:
        self._closed.set()
