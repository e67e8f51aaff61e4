"""GStreamer's libraries as PyGObject gives them; importing this needs both."""

# ruff: noqa: E402 - libgcc_s, then the versions, then the libraries

from __future__ import annotations

import gi

from vsr.live.gstreamer.unwinding import settle

settle()
gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")
gi.require_version("GstVideo", "1.0")

from gi.repository import GLib, GObject, Gst, GstBase, GstVideo

Gst.init(None)  # only lets Python in where GStreamer is initialised already

__all__ = ["GLib", "GObject", "Gst", "GstBase", "GstVideo"]
