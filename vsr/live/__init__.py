"""Upscaling as it plays: capture, pacing, deadline control, display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsr.live.upscaler import FrameUpscaler as FrameUpscaler

__all__ = ["FrameUpscaler"]


def __getattr__(name: str) -> Any:
    """Loads it on first use, so that `vsr-live --help` stays instant."""
    if name == "FrameUpscaler":
        from vsr.live.upscaler import FrameUpscaler

        return FrameUpscaler
    raise AttributeError(f"module 'vsr.live' has no attribute {name!r}")
