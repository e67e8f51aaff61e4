"""The engines, chosen by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsr.errors import UsageError
from vsr.settings import BACKENDS

if TYPE_CHECKING:
    from vsr.backends.engine import Engine
    from vsr.graph import FrameSpec
    from vsr.models import ModelChoice
    from vsr.settings import EngineSettings


def open_engine(settings: EngineSettings, choice: ModelChoice, spec: FrameSpec) -> Engine:
    """An engine for frames of `spec`. Raises UsageError for a backend that is unknown or not installed."""
    if settings.backend in ("auto", "openvino"):
        from vsr.backends.openvino import OpenVINOEngine

        return OpenVINOEngine(choice, spec, threads=settings.threads)
    if settings.backend == "pytorch":
        from vsr.backends.pytorch import PyTorchEngine

        return PyTorchEngine(choice, spec, threads=settings.threads)
    raise UsageError(f"no backend {settings.backend!r}; known: {', '.join(BACKENDS)}")
