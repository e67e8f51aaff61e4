"""The engines, chosen by name."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import UsageError

if TYPE_CHECKING:
    from vsr.backends.engine import Engine
    from vsr.backends.gpu import Gpu
    from vsr.graph import FrameSpec
    from vsr.models import ModelChoice
    from vsr.settings import EngineSettings


def open_engine(
    settings: EngineSettings, choice: ModelChoice, spec: FrameSpec, *, gpu: Gpu | None = None, halvings: int = 0
) -> Engine:
    """An engine for frames of `spec`, in tiles when a whole frame would take more than `settings.memory`.

    Args:
        gpu: where the choice is for one.
        halvings: on a GPU, how often a frame is halved at least, as larger tiles have run out of memory.

    Raises:
        UsageError: a backend that is not installed.
        InputError: a model that doesn't take this size.
        MemoryLimitError: no tile is small enough.
        DeviceError: what the GPU says.
    """
    if spec.format.alpha:
        return _open_twice(settings, choice, spec, gpu, halvings)
    if gpu is not None:
        from vsr.backends.gpu import open_on_gpu

        return open_on_gpu(gpu, choice, spec, halvings)
    if choice.runner.device is not None:
        raise UsageError(f"{choice.runner} isn't for this use yet; take --backend openvino")
    from vsr.backends.engine import threads_and_streams
    from vsr.backends.memory import available, predicted
    from vsr.backends.tiled import TiledEngine, choose
    from vsr.models import load

    model = load(choice)
    limit = settings.memory or available() // 2
    _, streams = threads_and_streams(settings.threads, settings.streams)

    def fits(part: FrameSpec) -> bool:
        if choice.runner.library == "pytorch":  # float32, and a result of its own for every operator
            return 2 * predicted(model, part, "float32", streams=1, requests=1) <= limit
        return predicted(model, part, choice.precision, streams=streams, requests=streams + 1) <= limit

    grid = choose(spec, choice.radius, fits, f"{limit / 2**20:.0f} MiB")
    engine = _open(settings, choice, spec if grid is None else grid.tile)
    return engine if grid is None else TiledEngine(grid, engine, choice.scale)


def _open_twice(
    settings: EngineSettings, choice: ModelChoice, spec: FrameSpec, gpu: Gpu | None, halvings: int
) -> Engine:
    """One engine for the picture, one for its opacity, in half the memory each."""
    from vsr.backends.memory import available
    from vsr.backends.opacity import OpacityEngine, split

    halved = replace(settings, memory=(settings.memory or available() // 2) // 2)
    parts = split(spec)
    picture = open_engine(halved, choice, parts[0], gpu=gpu, halvings=halvings)
    try:
        opacity = open_engine(halved, choice, parts[1], gpu=gpu, halvings=halvings)
    except BaseException:
        picture.close()
        raise
    return OpacityEngine(spec, picture, opacity, choice.scale)


def _open(settings: EngineSettings, choice: ModelChoice, spec: FrameSpec) -> Engine:
    if choice.runner.library == "openvino":
        from vsr.backends.openvino import OpenVINOEngine

        threads, streams = settings.threads, settings.streams
        return OpenVINOEngine(choice, spec, threads=threads, streams=streams, cache=cache_folder())
    try:
        from vsr.backends.pytorch.engine import PyTorchEngine
    except ModuleNotFoundError as error:
        raise UsageError("backend pytorch needs torch: pip install torch") from error

    return PyTorchEngine(choice, spec, threads=settings.threads)


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


@cache
def openvino_core() -> Any:
    """OpenVINO's one Core of this process, which stays until its end.

    OpenVINO's plugin for the CPU gives the thread that loads it another stack for signals, and frees that stack when it
    is unloaded, in whatever thread: the next signal in the first one, Ctrl-C say, would end the process.
    """
    return import_openvino().Core()
