"""Which source and which sink a run has, by what was asked for; each is imported only when it is the one."""

from __future__ import annotations

import sys
from collections.abc import Callable

from vsr.errors import InputError, UsageError
from vsr.frame import Chroma
from vsr.live.protocol import Sink, Source
from vsr.live.sinks import NullSink, PipeSink
from vsr.settings import LiveSettings

Say = Callable[[str], None]
SCREEN_RATE = 60  # frames a second


def open_source(settings: LiveSettings, say: Say) -> Source:
    """Raises UsageError or InputError."""
    if settings.window is None and settings.screen is None:
        from vsr.live.feeds import device_feed, feed_of
        from vsr.live.stream import StreamSource

        limits = settings.limits
        if settings.device is not None:
            return StreamSource(device_feed(settings.device, limits, settings.rate), limits=limits, say=say)
        assert settings.input is not None
        return StreamSource(feed_of(settings.input, limits), limits=limits, say=say)
    return _screen(settings, say)


def _screen(settings: LiveSettings, say: Say) -> Source:
    from vsr.live.capture import Region, ScreenSource
    from vsr.live.x11 import Display

    region = Region.of(settings.screen) if settings.screen else None
    display = Display()
    if settings.window == "click":
        say("click into the window to upscale")
    chroma: Chroma = "444" if settings.output == "window" else "420"  # what players, encoders and cameras take
    return ScreenSource(
        display,
        None if settings.window is None else display.find(settings.window).id,
        region,
        rate=settings.rate or SCREEN_RATE,
        cursor=settings.cursor,
        chroma=chroma,
        by=settings.grab,
        say=say,
    )


def open_sink(settings: LiveSettings, say: Say) -> Sink:
    """Raises UsageError or OutputError."""
    match settings.output:
        case "window":
            from vsr.live.window import Window

            options = {"vsync": settings.vsync, "fullscreen": settings.fullscreen}
            return Window(**options, scaling=settings.scaling, pairs=settings.pairs, say=say)
        case "null":
            return NullSink()
        case "y4m":
            if sys.stdout.isatty():
                raise UsageError("standard output is a terminal; send the y4m into a player, as in | mpv -")
            return PipeSink(sys.stdout.buffer)
    from vsr.live.record import RecordSink, form_of

    form = form_of(settings.output, overwrite=settings.overwrite)
    return RecordSink(settings.output, form, say=say)


def listing() -> list[str]:
    """Windows and devices that can be captured, a line each."""
    from vsr.live.feeds import devices
    from vsr.live.x11 import Display

    try:
        display = Display()
        windows = [f'  0x{w.id:07x} {w.size:>9}  "{w.title or w.program}"' for w in display.windows()]
        found = [f"windows of {display.name} (--window TITLE or NUMBER):", *(windows or ["  none"])]
    except InputError as error:
        found = [f"no windows: {error}"]
    cameras = [f"  {path}  {name}" for path, name in devices()]
    return [*found, "cameras and capture cards (--device PATH):", *(cameras or ["  none"])]
