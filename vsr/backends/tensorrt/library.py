"""Finding NVIDIA's library, and hearing what it says."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from typing import Any

from vsr.device.facts import cuda_version, load_driver
from vsr.device.protocol import DeviceError
from vsr.errors import UsageError

TENSORRT, RTX = "tensorrt", "tensorrt_rtx"
OLDEST = {TENSORRT: (10, 16), RTX: (1, 2)}
INSTALL = 'pip install "vsr[tensorrt]"'
_REMEMBERED, _LONGEST = 8, 600  # messages, letters of them together


def import_tensorrt(
    load: Callable[[str], Any] = importlib.import_module,
    cuda: Callable[[], tuple[int, int]] = lambda: cuda_version(load_driver()),
) -> Any:
    """The module `tensorrt`, else `tensorrt_rtx`, that works with this driver.

    Args:
        load: imports a module by name.
        cuda: the newest CUDA that the driver supports; raises DeviceError without one.

    Raises:
        UsageError: neither is there, or loads, or is new enough, or the driver is too old; a line that says which.
    """
    reasons = []
    for name in (TENSORRT, RTX):
        try:
            module = load(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                reasons.append(f"{name} doesn't load: {error}")
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append(f"{name} doesn't load: {_line(error)}")
        else:
            reason = _too_old(name, module) or _driver_too_old(name, module, cuda)
            if not reason:
                return module
            reasons.append(reason)
    raise UsageError("; ".join(reasons) or f"TensorRT isn't installed; {INSTALL}")


def obstacle() -> str:
    """Why TensorRT can't be used here, in a line; "" where it can."""
    try:
        import_tensorrt()
    except UsageError as error:
        return str(error)
    return ""


def is_rtx(trt: Any) -> bool:
    """TensorRT-RTX: no timing cache, and kernels are chosen where the plan runs."""
    return str(trt.__name__) == RTX


def _too_old(name: str, module: Any) -> str:
    version = str(getattr(module, "__version__", "0"))
    oldest = OLDEST[name]
    if tuple(map(int, version.split(".")[:2])) >= oldest:
        return ""
    return f"{name} {version} is too old; {'.'.join(map(str, oldest))} or newer is needed: {INSTALL}"


def _driver_too_old(name: str, module: Any, cuda: Callable[[], tuple[int, int]]) -> str:
    needed = cuda_of(module)
    try:
        major, minor = cuda()
    except DeviceError as error:
        return f"{name} is there, but {error}"
    if major >= needed:
        return ""
    return f"{name} {module.__version__} needs a driver for CUDA {needed}, this one supports {major}.{minor}; update it"


def cuda_of(trt: Any) -> int:
    """The CUDA its package was made for, by the name it has on PyPI; TensorRT 11 exists for CUDA 13 alone."""
    for major in (12, 13):
        for package in (f"{trt.__name__}_cu{major}", f"{trt.__name__}_cu{major}_bindings"):
            with suppress(metadata.PackageNotFoundError):
                metadata.distribution(package)
                return major
    return 13 if not is_rtx(trt) and int(str(trt.__version__).split(".")[0]) >= 11 else 12


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def listening(trt: Any) -> Any:
    """A logger for TensorRT that keeps the last warnings and errors: `text()` gives them as one line."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=_REMEMBERED)
            self._warnings: deque[str] = deque(maxlen=_REMEMBERED)

        def log(self, severity: Any, message: str) -> None:
            """Called from several threads."""
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self._errors.append(" ".join(message.split()))
            elif severity == trt.ILogger.WARNING:
                self._warnings.append(" ".join(message.split()))

        def text(self) -> str:
            """The last errors, else the last warning, since this was asked."""
            said = list(self._errors) or list(self._warnings)[-1:]
            self._errors.clear()
            self._warnings.clear()
            return "; ".join(said)[:_LONGEST] or "TensorRT gave no reason"

    return Log()
