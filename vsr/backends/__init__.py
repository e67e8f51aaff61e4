"""The engines, chosen by name."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import UsageError
from vsr.settings import BACKENDS

if TYPE_CHECKING:
    from vsr.backends.engine import Engine
    from vsr.graph import FrameSpec
    from vsr.models import ModelChoice
    from vsr.settings import EngineSettings


def open_engine(settings: EngineSettings, choice: ModelChoice, spec: FrameSpec) -> Engine:
    """An engine for frames of `spec`, in tiles when a whole frame would take more than `settings.memory`.

    Raises:
        UsageError: a backend that is unknown or not installed.
        InputError: a model that doesn't take this size.
        MemoryLimitError: no tile is small enough.
    """
    if spec.format.alpha:
        return _open_twice(settings, choice, spec)
    from vsr.backends.engine import threads_and_streams
    from vsr.backends.memory import available, predicted
    from vsr.backends.tiled import TiledEngine, choose
    from vsr.models import load

    model = load(choice)
    limit = settings.memory or available() // 2
    _, streams = threads_and_streams(settings.threads, settings.streams)

    def fits(part: FrameSpec) -> bool:
        if settings.backend == "pytorch":  # float32, and a result of its own for every operator
            return 2 * predicted(model, part, "float32", streams=1, requests=1) <= limit
        return predicted(model, part, choice.precision, streams=streams, requests=streams + 1) <= limit

    grid = choose(spec, choice.radius, fits, f"{limit / 2**20:.0f} MiB")
    engine = _open(settings, choice, spec if grid is None else grid.tile)
    return engine if grid is None else TiledEngine(grid, engine, choice.scale)


def _open_twice(settings: EngineSettings, choice: ModelChoice, spec: FrameSpec) -> Engine:
    """One engine for the picture, one for its opacity, in half the memory each."""
    from vsr.backends.memory import available
    from vsr.backends.opacity import OpacityEngine, split

    halved = replace(settings, memory=(settings.memory or available() // 2) // 2)
    picture, opacity = (open_engine(halved, choice, part) for part in split(spec))
    return OpacityEngine(spec, picture, opacity, choice.scale)


def _open(settings: EngineSettings, choice: ModelChoice, spec: FrameSpec) -> Engine:
    if settings.backend in ("auto", "openvino"):
        from vsr.backends.openvino import OpenVINOEngine

        threads, streams = settings.threads, settings.streams
        return OpenVINOEngine(choice, spec, threads=threads, streams=streams, cache=cache_folder())
    if settings.backend == "pytorch":
        try:
            from vsr.backends.pytorch.engine import PyTorchEngine
        except ModuleNotFoundError as error:
            raise UsageError("backend pytorch needs torch: pip install torch") from error

        return PyTorchEngine(choice, spec, threads=settings.threads)
    raise UsageError(f"no backend {settings.backend!r}; known: {', '.join(BACKENDS)}")


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Folder of compiled models: $VSR_CACHE, $XDG_CACHE_HOME/vsr or ~/.cache/vsr; None when it can't be written."""
    caches = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".cache"
    folder = Path(environment.get("VSR_CACHE") or Path(caches) / "vsr")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


def import_openvino() -> Any:
    """The module `openvino`, without the telemetry it would send at its first import.

    `openvino` reports every import through the package `openvino_telemetry`, and takes a stub of its own where that
    isn't installed; so it is made to look not installed while `openvino` loads.
    """
    if "openvino" not in sys.modules:
        present = sys.modules.get("openvino_telemetry")
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
            if present is not None:
                sys.modules["openvino_telemetry"] = present
    import openvino

    return openvino
