"""The doctor's lines about NVIDIA GPUs: driver, devices, what drives them, libraries. One line where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from vsr.backends.machine import has_driver
from vsr.backends.tensorrt.library import import_tensorrt
from vsr.device import LAYERS, Layer, devices, open_device
from vsr.device.facts import driver_version, gpu_facts
from vsr.device.protocol import Device, NoDeviceError
from vsr.errors import Unavailable, UsageError, VsrError

COPIED = 1 << 20  # bytes
Try = tuple[str, Callable[[], str]]


def tries() -> Iterator[Try]:
    """(name, what to do) of every check; one that says so where nothing speaks of an NVIDIA GPU."""
    yield "NVIDIA driver", driver
    if not has_driver():
        return
    try:
        found = devices()
    except NoDeviceError:  # the driver's line says it
        return
    for index in range(len(found)):
        yield f"GPU {index}", partial(gpu, index)
    for layer in LAYERS:
        yield layer, partial(driven, layer)
    yield "TensorRT", tensorrt
    yield "torch on the GPU", torch


def driver() -> str:
    if not has_driver():
        raise Unavailable("no NVIDIA GPU and no driver of one is here; the network runs on the CPU")
    found, facts = devices(), gpu_facts()
    version = driver_version() or "unknown version"
    return f"{version}, for CUDA {facts.cuda}; {len(found)} GPU{'s' if len(found) > 1 else ''}"


def gpu(index: int) -> str:
    facts = gpu_facts(index)
    return (
        f"{facts.name}, compute capability {facts.compute_capability}, {facts.multiprocessors} multiprocessors, "
        f"{facts.memory_gib} GiB"
    )


def driven(layer: Layer, open: Callable[..., Device] = open_device) -> str:
    """Copies bytes to the first GPU and back."""
    try:
        device = open(0, layer)
    except NoDeviceError as error:
        raise Unavailable(str(error)) from error
    try:
        with device.current():
            there_and_back(device)
            free, total = device.memory()
    finally:
        device.close()
    graphs = "" if device.captures else ", no graphs"
    return f"{COPIED >> 20} MiB copied to {device.name} and back, {free >> 20} of {total >> 20} MiB free{graphs}"


def there_and_back(device: Device) -> None:
    """Raises VsrError for bytes that come back changed."""
    stream, given, back = device.stream(), device.pinned(COPIED), device.pinned(COPIED)
    middle = device.allocate(COPIED)
    try:
        given.array[:COPIED] = np.arange(COPIED, dtype=np.uint32).astype(np.uint8)
        back.array[:COPIED] = 0
        device.upload(middle, given.array[:COPIED], stream)
        device.download(back.array[:COPIED], middle, stream)
        stream.synchronize()
        if not np.array_equal(given.array[:COPIED], back.array[:COPIED]):
            raise VsrError("bytes copied to the GPU and back are not the same")
    finally:
        for thing in (middle, back, given, stream):
            thing.close()


def tensorrt() -> str:
    try:
        library = import_tensorrt()
    except UsageError as error:
        raise Unavailable(str(error)) from error
    return f"{library.__name__} {library.__version__}"


def torch() -> str:
    try:
        import torch
    except ImportError as error:
        raise Unavailable("not installed (pip install torch)") from error
    if torch.version.cuda is None:
        raise Unavailable(f"torch {torch.__version__} was built without CUDA")
    if not torch.cuda.is_available():
        raise VsrError(f"torch's CUDA {torch.version.cuda} finds no GPU it can use")
    return f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
