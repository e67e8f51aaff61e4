"""vsr: real-time video super-resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsr.pipeline import upscale as upscale
    from vsr.pipeline import upscaled_frames as upscaled_frames
    from vsr.upscaler import Upscaler as Upscaler

__version__ = "0.1.0"
__all__ = ["Upscaler", "__version__", "upscale", "upscaled_frames"]


def __getattr__(name: str) -> Any:
    """Loads the entry points on first use, so that `import vsr` and `vsr-run --help` stay instant."""
    if name in ("upscale", "upscaled_frames"):
        from vsr import pipeline

        return getattr(pipeline, name)
    if name == "Upscaler":
        from vsr.upscaler import Upscaler

        return Upscaler
    raise AttributeError(f"module 'vsr' has no attribute {name!r}")
