"""Pictures of an X server's screen: by FFmpeg's x11grab, by mss where PyAV was built without it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame

from vsr.errors import InputError
from vsr.limits import LIMITS, check_size
from vsr.settings import Grab

if TYPE_CHECKING:
    from av.container import InputContainer


class Missed(Exception):
    """The server refused a picture: the window has just changed its size, was hidden or closed."""


@dataclass(frozen=True)
class Place:
    """Where pictures come from.

    Args:
        window: id, the root's for a part of the screen.
        x, y, width, height: within it.
        across, down: of its corner from the screen's.
        visible: mapped.
    """

    window: int
    x: int
    y: int
    width: int
    height: int
    across: int
    down: int
    visible: bool


class Grabber(Protocol):
    def grab(self) -> VideoFrame:
        """The next picture at the rate asked for; valid until the next call. Raises Missed."""

    def fits(self, place: Place) -> bool:
        """Whether it captures what is at `place` now."""

    def close(self) -> None: ...


def available(by: Grab) -> Grab:
    """The one that will grab; auto is x11grab where PyAV was built with it."""
    return by if by != "auto" else "x11grab" if "x11grab" in av.formats_available else "mss"


def open_grabber(by: Grab, display: str, place: Place, rate: int, *, cursor: bool) -> Grabber:
    """What captures `place`.

    Args:
        by: see `available`.

    Raises:
        Missed: not at this moment.
        InputError: not on this machine.
    """
    check_size("the picture", place.width, place.height, LIMITS)
    if by == "x11grab":
        return X11Grab(display, place, rate, cursor=cursor)
    return MssGrab(display, place, rate, cursor=cursor)


class X11Grab:
    """FFmpeg's x11grab: through shared memory, a window by its id, wherever it is."""

    def __init__(self, display: str, place: Place, rate: int, *, cursor: bool) -> None:
        self._place, self._interval, self._last = place, 1 / rate, 0.0
        options = {
            "window_id": str(place.window),
            "grab_x": str(place.x),
            "grab_y": str(place.y),
            "video_size": f"{place.width}x{place.height}",
            "framerate": str(rate),
            "draw_mouse": str(int(cursor)),
            "probesize": "32",  # bytes: pictures read ahead while it opens would be late
            "fpsprobesize": "0",
        }
        try:
            self._container: InputContainer = av.open(display, "r", format="x11grab", options=options)
        except av.error.FFmpegError as error:
            raise Missed(error.strerror) from error
        except ValueError as error:
            raise InputError("this PyAV has no x11grab; --grab mss does without") from error
        self._packets = self._container.demux(video=0)
        self.grab()  # the one that was read ahead

    def grab(self) -> VideoFrame:
        """x11grab makes up for what it missed by pictures in a row; of those one an interval is enough."""
        picture, soonest = self._next(), self._last + self._interval / 2
        while time.monotonic() < soonest:
            picture = self._next()
        self._last = time.monotonic()
        return picture

    def _next(self) -> VideoFrame:
        try:
            picture = next(self._packets).decode()[0]
        except (av.error.FFmpegError, StopIteration) as error:
            raise Missed(getattr(error, "strerror", None) or "no picture") from error
        assert isinstance(picture, VideoFrame)
        return picture

    def fits(self, place: Place) -> bool:
        now, own = place, self._place
        return (now.x, now.y, now.width, now.height) == (own.x, own.y, own.width, own.height)

    def close(self) -> None:
        self._container.close()


class MssGrab:
    """mss: a rectangle of the screen, whatever shows there, paced here."""

    def __init__(self, display: str, place: Place, rate: int, *, cursor: bool) -> None:
        try:
            import mss
        except ImportError as error:
            raise InputError("this PyAV has no x11grab, and mss isn't installed: pip install 'vsr[live]'") from error
        self._refused: Any = mss.ScreenShotError
        self._place, self._interval = place, 1 / rate
        self._due = time.monotonic()
        self._area = {"left": place.across, "top": place.down, "width": place.width, "height": place.height}
        try:
            self._screen: Any = mss.MSS(display=display, with_cursor=cursor)
        except self._refused as error:
            raise Missed(str(error)) from error

    def grab(self) -> VideoFrame:
        self._due = max(self._due + self._interval, time.monotonic())
        time.sleep(max(0.0, self._due - time.monotonic()))
        try:
            shot = self._screen.grab(self._area)
        except self._refused as error:
            raise Missed(str(error)) from error
        pixels = np.frombuffer(shot.raw, np.uint8).reshape(self._place.height, self._place.width, 4)
        return VideoFrame.from_numpy_buffer(pixels, "bgra")

    def fits(self, place: Place) -> bool:
        return place == self._place

    def close(self) -> None:
        self._screen.close()
