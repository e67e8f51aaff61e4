"""Which source and which sink a run has, by what was asked for; each is imported only when it is the one."""

from __future__ import annotations

import sys

from vsr.errors import UsageError
from vsr.live.protocol import Sink, Source
from vsr.live.sinks import NullSink, PipeSink
from vsr.settings import LiveSettings


def open_source(settings: LiveSettings) -> Source:
    """Raises UsageError or InputError."""
    raise UsageError("nothing captures yet")


def open_sink(settings: LiveSettings) -> Sink:
    """Raises UsageError or OutputError."""
    match settings.output:
        case "null":
            return NullSink()
        case "y4m":
            if sys.stdout.isatty():
                raise UsageError("standard output is a terminal; send the y4m into a player, as in | mpv -")
            return PipeSink(sys.stdout.buffer)
    raise UsageError(f"no output {settings.output!r}; null and y4m are known")
