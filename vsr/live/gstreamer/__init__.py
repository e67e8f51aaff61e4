"""The GStreamer element `vsrupscale`: raw video in, the same 2, 3 or 4 times as large out.

Two ways to have it: `register()` for Python programs; for gst-launch-1.0 and everything else a file for GStreamer's
Python loader, which `vsr-plugin install` writes.
"""

from __future__ import annotations

from vsr.errors import UsageError

NAME = "vsrupscale"
ADVICE = (
    "on Debian: apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good python3-gi "
    "python3-gst-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-python3-plugin-loader, and for Python programs in an "
    "environment of their own PYTHONPATH=/usr/lib/python3/dist-packages"
)


def register() -> None:
    """Makes the element known in this process; GStreamer is initialised if nobody did.

    Raises:
        UsageError: PyGObject, GStreamer or its Python parts aren't there, or were loaded in an order that can't work.
    """
    try:
        from vsr.live.gstreamer.binding import Gst
        from vsr.live.gstreamer.element import Upscale
    except UsageError:
        raise
    except (ImportError, ValueError) as error:  # PyGObject raises ValueError for a library it doesn't find
        raise UsageError(f"no GStreamer for Python here ({' '.join(str(error).split())}); {ADVICE}") from error
    Gst.Element.register(None, NAME, Gst.Rank.NONE, Upscale)
