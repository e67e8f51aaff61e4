"""Device layers: one suite for all of them, on a GPU or on stub_cuda.c in place of its driver."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsr.device import LAYERS, open_device
from vsr.device.fake import FakeDevice
from vsr.device.protocol import Closable, Device, DeviceError, DeviceMemoryError
from vsr.surface import Rows

SIZE = 1000
HERE = Path(__file__).resolve().parent
STUB = ctypes.CDLL("libcuda.so.1") if os.environ.get("STUB_CUDA") else None
LIBRARIES = {"cuda-python": "cuda", "pycuda": "pycuda"}


def installed(layer: str) -> None:
    """Skips where the library isn't."""
    if find_spec(LIBRARIES[layer]) is None:
        pytest.skip(f"{layer} isn't installed")


@pytest.fixture(params=["fake", *(pytest.param(layer, marks=pytest.mark.gpu) for layer in LAYERS)])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if request.param == "fake":
        device: Any = FakeDevice(len(request.node.name))
    else:
        installed(request.param)
        request.getfixturevalue("gpu")
        device = open_device(layer=request.param)
    yield device
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="closed"), device.current():
        pass
    if isinstance(device, FakeDevice):
        assert device.misuses == ["current() of a closed device"]
        assert not device.open.total()
    elif STUB:
        assert (STUB.stub_open(), STUB.stub_bad(), STUB.stub_retained(), STUB.stub_depth()) == (0, 0, 0, 0)


def pattern(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


def test_bytes_go_there_and_back(device: Device) -> None:
    with device.current():
        stream, source, target = device.stream(), device.pinned(SIZE), device.pinned(SIZE, write_combined=True)
        middle = device.allocate(SIZE)
        assert middle.nbytes == SIZE
        assert middle.address % 256 == 0 == source.array.ctypes.data % 256
        source.array[:] = pattern(1)
        target.array[:] = 0
        device.upload(middle, source.array, stream)
        device.download(target.array[100:600], middle, stream)
        stream.synchronize()
        assert np.array_equal(target.array[100:600], pattern(1)[:500])
        assert not target.array[:100].any()
        assert not target.array[600:].any()
        for thing in (middle, target, source, stream, stream):
            thing.close()


def test_a_copy_fits_both_ends(device: Device) -> None:
    with device.current():
        stream, pinned, small = device.stream(), device.pinned(SIZE), device.allocate(SIZE - 1)
        with pytest.raises(ValueError, match="at most 999 here, not 1000"):
            device.upload(small, pinned.array, stream)
        with pytest.raises(ValueError, match="at most 999 here, not 1000"):
            device.download(pinned.array, small, stream)
        with pytest.raises(ValueError, match="dense bytes"):
            device.upload(small, pinned.array[::2], stream)
        with pytest.raises(ValueError, match="dense bytes"):
            device.upload(small, pinned.array.view(np.uint16), stream)  # type: ignore[arg-type]
        for thing in (small, pinned, stream):
            thing.close()


def test_rows_are_gathered(device: Device) -> None:
    """As a decoder leaves them: each begins a pitch after the one before, and what is between them is nobody's."""
    rows, pitch, offset = (7, 20), 48, 256
    with device.current():
        stream, pinned = device.stream(), device.pinned(SIZE)
        surface, target = device.allocate(SIZE), device.allocate(SIZE)
        pinned.array[:] = pattern(1)
        device.upload(surface, pinned.array, stream)
        stream.synchronize()
        pinned.array[:] = 0
        device.upload(target, pinned.array, stream)
        device.gather(target, offset, Rows(surface.address + 96, pitch, rows[1], rows[0]), stream)
        device.download(pinned.array, target, stream)
        stream.synchronize()
        expected = pattern(1)[96 : 96 + rows[0] * pitch].reshape(rows[0], pitch)[:, : rows[1]].ravel()
        assert np.array_equal(pinned.array[offset : offset + expected.size], expected)
        assert not pinned.array[:offset].any()
        assert not pinned.array[offset + expected.size :].any()
        for bad in (Rows(surface.address, 19, 20, 7), Rows(surface.address, 48, 20, 38)):
            with pytest.raises(ValueError, match="don't fit at 256 of 1000 bytes"):
                device.gather(target, offset, bad, stream)
        for thing in (target, surface, pinned, stream):
            thing.close()


def test_the_default_stream_is_waited_for(device: Device) -> None:
    with device.current():
        event = device.event()
        event.record(None)
        event.synchronize()
        assert event.done()
        event.close()


def test_events_order_streams(device: Device) -> None:
    with device.current():
        first, second = device.stream(), device.stream()
        event, never = device.event(), device.event()
        source, target, middle = device.pinned(SIZE), device.pinned(SIZE), device.allocate(SIZE)
        assert first.handle != second.handle
        assert never.done()
        for seed in range(20):
            source.array[:] = pattern(seed)
            second.wait(never)
            device.upload(middle, source.array, first)
            event.record(first)
            second.wait(event)
            device.download(target.array, middle, second)
            event.record(second)
            if seed % 2:
                event.synchronize()
            while not event.done():
                pass
            assert np.array_equal(target.array, pattern(seed))
        for thing in (middle, target, source, never, event, second, first):
            thing.close()


def test_timed_events(device: Device) -> None:
    with device.current():
        stream, begin, end, plain = device.stream(), device.event(timed=True), device.event(timed=True), device.event()
        source, middle = device.pinned(1 << 20), device.allocate(1 << 20)
        begin.record(stream)
        device.upload(middle, source.array, stream)
        end.record(stream)
        plain.record(stream)
        stream.synchronize()
        assert 0 < end.since(begin) < 10
        with pytest.raises(DeviceError):
            plain.since(begin)
        for thing in (middle, source, plain, end, begin, stream):
            thing.close()


def test_a_graph_does_again_what_was_captured(device: Device) -> None:
    if not device.captures:
        pytest.skip(f"{device.layer} has no graphs")
    with device.current():
        stream, source, target = device.stream(), device.pinned(SIZE), device.pinned(SIZE)
        middle = device.allocate(SIZE)
        target.array[:] = 0

        def work() -> None:
            device.upload(middle, source.array, stream)
            device.download(target.array, middle, stream)

        graph = device.capture(stream, work)
        stream.synchronize()
        assert not target.array.any()
        for seed in range(3):
            source.array[:] = pattern(seed)
            graph.launch(stream)
            stream.synchronize()
            assert np.array_equal(target.array, pattern(seed))
        for thing in (graph, graph, middle, target, source, stream):
            thing.close()


def test_a_failed_capture_leaves_the_stream_usable(device: Device) -> None:
    if not device.captures:
        pytest.skip(f"{device.layer} has no graphs")
    with device.current():
        stream, source, target = device.stream(), device.pinned(SIZE), device.pinned(SIZE)
        middle = device.allocate(SIZE)
        source.array[:] = pattern(3)

        def swallowed() -> None:
            device.upload(middle, source.array, stream)
            with pytest.raises(DeviceError):
                stream.synchronize()

        def stopped() -> None:
            device.upload(middle, source.array, stream)
            raise KeyError("stopped")

        with pytest.raises(DeviceError, match=r"(?i)capture"):
            device.capture(stream, swallowed)
        with pytest.raises(KeyError):
            device.capture(stream, stopped)
        device.upload(middle, source.array, stream)
        device.download(target.array, middle, stream)
        stream.synchronize()
        assert np.array_equal(target.array, pattern(3))
        for thing in (middle, target, source, stream):
            thing.close()


def test_memory_ends(device: Device) -> None:
    with device.current():
        free, total = device.memory()
        assert 0 < free <= total
        with pytest.raises(DeviceMemoryError) as caught:
            device.allocate(2 * total)
        assert caught.value.exit_code == 6
        device.allocate(SIZE).close()
        assert device.memory()[1] == total
        assert abs(device.memory()[0] - free) < 64 << 20  # others use a real one too


def test_what_was_closed_is_not_used(device: Device) -> None:
    with device.current():
        pinned, buffer, stream, event = device.pinned(SIZE), device.allocate(SIZE), device.stream(), device.event()
        for thing in (event, stream, buffer, pinned):
            thing.close()
        for use in (
            lambda: pinned.array,
            lambda: buffer.address,
            lambda: stream.handle,
            lambda: stream.synchronize(),
            lambda: event.done(),
        ):
            with pytest.raises(DeviceError, match="closed"):
                use()
    forgive(device)


def forgive(device: Device) -> None:
    """What the test did wrong on purpose."""
    if isinstance(device, FakeDevice):
        assert device.misuses
        device.misuses.clear()
    elif STUB:
        STUB.stub_bad()


def test_calls_need_the_context_in_their_thread(device: Device) -> None:
    with device.current(), device.current():
        stream = device.stream()
    failures = []

    def other() -> None:
        """In a thread of its own: torch may have left the context current in this one."""
        for call in (device.event, device.stream, lambda: device.allocate(SIZE), lambda: device.pinned(SIZE)):
            try:
                call()
            except DeviceError as error:
                failures.append(error)
        with device.current():
            stream.synchronize()
            stream.close()

    with device.current():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(failures) == 4
    forgive(device)


def frame(device: Device, own: Callable[[Any], Any]) -> int:
    """One of everything; the first byte that came out."""
    stream, event, later = own(device.stream()), own(device.event()), own(device.event(timed=True))
    source, target = own(device.pinned(SIZE, write_combined=True)), own(device.pinned(SIZE))
    middle = own(device.allocate(SIZE))
    source.array[:] = 7

    def work() -> None:
        device.upload(middle, source.array, stream)
        device.download(target.array, middle, stream)

    graph = own(device.capture(stream, work)) if device.captures else None
    event.record(None)
    stream.wait(event)
    device.gather(middle, 0, Rows(middle.address + 500, 100, 50, 2), stream)
    event.record(stream)
    graph.launch(stream) if graph else work()
    later.record(stream)
    later.synchronize()
    later.since(later)
    assert later.done()
    return int(target.array[0])


def test_threads_share_a_device(device: Device) -> None:
    results: list[int] = []

    def go() -> None:
        for _ in range(20):
            with device.current(), ExitStack() as opened:
                results.append(frame(device, lambda thing: closing(opened, thing)))

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [7] * 80


def closing(opened: ExitStack, thing: Closable) -> Closable:
    opened.callback(thing.close)
    return thing


def test_what_fails_leaves_nothing_open(device: Device) -> None:
    if not STUB or isinstance(device, FakeDevice):
        pytest.skip("the stub alone fails when asked")
    for step in range(100):
        left = STUB.stub_open()
        STUB.stub_fail(step)
        try:
            with device.current(), ExitStack() as opened:
                frame(device, lambda thing: closing(opened, thing))
        except DeviceError:
            assert STUB.stub_open() == left, f"step {step}"
        else:
            assert STUB.stub_open() <= left + 1  # what failed was freeing something
            if STUB.stub_left() >= 0:
                break
    assert 20 < step < 100
    STUB.stub_fail(-1)
    STUB.stub_forget()


# Without a GPU


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds stub_cuda.c as its driver."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler for the stub of CUDA's driver")
    folder = tmp_path_factory.mktemp("stub")
    library, options = folder / "libcuda.so.1", ["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o"]
    subprocess.run([compiler, *options, library, HERE / "stub_cuda.c", "-ldl", "-lpthread"], check=True)
    path = os.pathsep.join([str(folder), os.environ.get("LD_LIBRARY_PATH", "")])
    return os.environ | {"LD_LIBRARY_PATH": path, "STUB_CUDA": "1", "REQUIRE_GPU": "1"}


# PyCUDA links to all of the driver's calls, the stub has those that are made: they are looked up when they are.
LAZY = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n"


def run(script: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", LAZY + script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=HERE.parent)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_suite_passes_on_a_stub_of_the_driver(layer: str, stub: dict[str, str], tmp_path: Path) -> None:
    installed(layer)
    options = ["-q", "-m", "gpu", "-k", layer, "--basetemp", str(tmp_path / "inner"), "-p", "no:cacheprovider"]
    done = run("import pytest; sys.exit(pytest.main(sys.argv[1:]))", stub, __file__, *options)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "PyCUDA" not in done.stderr


LEFT_OPEN = """
from vsr.device import open_device
device = open_device(layer=sys.argv[1])
with device.current():
    stream, event, pinned, buffer = device.stream(), device.event(), device.pinned(9), device.allocate(9)
    event.record(stream)
    if device.captures:
        graph = device.capture(stream, lambda: device.upload(buffer, pinned.array, stream))
    if sys.argv[2] == "inside":
        sys.exit(0)
"""


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_process_ends_cleanly_with_everything_open(layer: str, where: str, stub: dict[str, str]) -> None:
    installed(layer)
    done = run(LEFT_OPEN, stub, layer, where)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


REASON = """
from vsr.device import open_device
from vsr.errors import UsageError
if sys.argv[3:]:
    sys.modules["cuda"] = sys.modules["pycuda"] = None
try:
    open_device(int(sys.argv[1]), sys.argv[2])
except UsageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("settings", "arguments", "reason"),
    [
        ({"STUB_CUDA_DEVICES": "0"}, ("0", "auto"), "cuInit: CUDA error 100: no CUDA device"),
        ({"STUB_CUDA_VERSION": "11080"}, ("0", "auto"), "driver is for CUDA 11.8; one for 12.0 or newer is needed"),
        ({"STUB_CUDA_DEVICES": "2"}, ("2", "auto"), "there is no GPU 2; CUDA shows 0 (Stub GPU 0), 1 (Stub GPU 1)"),
        ({}, ("-1", "auto"), "there is no GPU -1"),
        ({}, ("0", "auto", "hide"), "no library to drive Stub GPU 0 (cuda-python: "),
        ({}, ("0", "vulkan"), "no device layer 'vulkan'; there are cuda-python, pycuda and auto"),
        ({"LD_LIBRARY_PATH": "/nowhere"}, ("0", "auto"), "no NVIDIA driver (libcuda.so.1: "),
    ],
)
def test_why_there_is_no_gpu(
    settings: dict[str, str], arguments: tuple[str, ...], reason: str, stub: dict[str, str]
) -> None:
    if "LD_LIBRARY_PATH" in settings and Path("/dev/nvidiactl").exists():
        pytest.skip("there is a driver here")
    done = run(REASON, stub | settings, *arguments)
    assert reason in done.stdout
    assert done.stdout.count("\n") == 1
    assert not done.stderr


def test_contexts_wait_without_spinning(stub: dict[str, str]) -> None:
    installed("cuda-python")
    script = """
import ctypes
from vsr.device import devices, open_device
assert devices() == ["Stub GPU 0", "Stub GPU 1"]
first, again = open_device(1), open_device(1)  # the second finds it active
assert (first.name, first.index, first.compute_capability) == ("Stub GPU 1", 1, (9, 0))
stub = ctypes.CDLL("libcuda.so.1")
print(first.layer, stub.stub_flags(1), stub.stub_retained())
"""
    done = run(script, stub | {"STUB_CUDA_DEVICES": "2"})
    assert (done.stdout, done.stderr) == ("cuda-python 4 2\n", "")
