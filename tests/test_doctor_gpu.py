"""The doctor's lines about GPUs, with the fake device in place of one, and without any."""

from __future__ import annotations

import pytest

from vsr.backends.machine import has_driver
from vsr.device import LAYERS
from vsr.device.fake import FakeDevice
from vsr.device.protocol import NoDeviceError
from vsr.doctor_gpu import driven, driver, tries
from vsr.doctor_gpu import gpu as described
from vsr.errors import Unavailable, VsrError


class Forgetful(FakeDevice):
    """A device that doesn't copy back what it was given."""

    def bytes(self, address: int, nbytes: int) -> object:  # type: ignore[override]
        return super().bytes(address, nbytes).copy()


def test_bytes_are_copied_there_and_back() -> None:
    device = FakeDevice(1)
    assert driven("pycuda", lambda index, layer: device) == "1 MiB copied to Fake GPU and back, 1024 of 1024 MiB free"
    assert not +device.open
    assert not device.misuses


def test_bytes_that_change_are_found() -> None:
    device = Forgetful(1)
    with pytest.raises(VsrError, match="not the same"):
        driven("cuda-python", lambda index, layer: device)
    assert not +device.open


def test_a_layer_that_is_missing_is_said() -> None:
    def open(index: int, layer: str) -> FakeDevice:
        raise NoDeviceError(f"no library {layer}")

    with pytest.raises(Unavailable, match="no library pycuda"):
        driven("pycuda", open)


@pytest.mark.skipif(has_driver(), reason="there is a driver")
def test_without_a_gpu_one_line_says_so() -> None:
    assert [name for name, _ in tries()] == ["NVIDIA driver"]
    with pytest.raises(Unavailable, match="runs on the CPU"):
        driver()


@pytest.mark.gpu
def test_a_gpu_is_described(gpu: str) -> None:
    assert {name for name, _ in tries()} >= {"NVIDIA driver", "GPU 0", *LAYERS, "TensorRT", "torch on the GPU"}
    assert gpu in described(0)
    assert "for CUDA" in driver()
