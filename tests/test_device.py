"""Device layers: one suite for all of them, and what only the fake promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from vsr.device.fake import POISON, FakeDevice
from vsr.device.protocol import Device, DeviceError, DeviceMemoryError

SIZE = 1000


@pytest.fixture(params=["fake"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    device = FakeDevice(len(request.node.name))
    yield device
    device.close()
    assert not device.misuses
    assert not device.open.total()


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
        with pytest.raises(ValueError, match="at most 999, not 1000"):
            device.upload(small, pinned.array, stream)
        with pytest.raises(ValueError, match="at most 999, not 1000"):
            device.download(pinned.array, small, stream)
        with pytest.raises(ValueError, match="dense bytes"):
            device.upload(small, pinned.array[::2], stream)
        with pytest.raises(ValueError, match="dense bytes"):
            device.upload(small, pinned.array.view(np.uint16), stream)  # type: ignore[arg-type]
        for thing in (small, pinned, stream):
            thing.close()


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

        with pytest.raises(DeviceError, match="capture"):
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
        assert device.memory() == (free, total)


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
    forgive(device, 5)


def forgive(device: Device, misuses: int) -> None:
    """What the test did wrong on purpose."""
    if isinstance(device, FakeDevice):
        assert len(device.misuses) == misuses
        device.misuses.clear()


def test_calls_need_the_context_in_their_thread(device: Device) -> None:
    with device.current(), device.current():
        stream = device.stream()
    failures = []

    def other() -> None:
        try:
            device.event()
        except DeviceError as error:
            failures.append(error)
        with device.current():
            stream.synchronize()
            stream.close()

    with device.current():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    with pytest.raises(DeviceError):
        device.allocate(SIZE)
    assert len(failures) == 1
    forgive(device, 2)


# The fake


def copies(device: FakeDevice, frames: int = 4) -> list[int]:
    """Frames through two streams that race; the first byte of each as it came out."""
    with device.current():
        streams = [device.stream() for _ in range(2)]
        pinned, buffers = [device.pinned(8) for _ in range(2)], [device.allocate(8) for _ in range(2)]
        order: list[int] = []
        for index in range(frames):
            slot = index % 2
            device.upload(buffers[slot], pinned[slot].array, streams[slot])
            device.compute(streams[slot], lambda index=index: order.append(index))  # type: ignore[misc]
        for thing in (*streams,):
            thing.synchronize()
        for each in (*buffers, *pinned, *streams):
            each.close()
    return order


def test_the_order_of_streams_is_random_and_repeats_by_the_seed() -> None:
    orders = [tuple(copies(FakeDevice(seed), 6)) for seed in range(20)]
    assert len(set(orders)) > 5
    assert orders == [tuple(copies(FakeDevice(seed), 6)) for seed in range(20)]
    for order in orders:
        assert [n for n in order if n % 2] == [1, 3, 5]
        assert [n for n in order if not n % 2] == [0, 2, 4]


def test_overwriting_what_an_upload_has_not_read_is_seen() -> None:
    arrived = set()
    for seed in range(20):
        device = FakeDevice(seed)
        with device.current():
            stream, source, target, middle = device.stream(), device.pinned(8), device.pinned(8), device.allocate(8)
            assert (source.array == POISON).all()
            assert (device.bytes(middle.address, 8) == POISON).all()
            source.array[:] = 1
            device.upload(middle, source.array, stream)
            device.download(target.array, middle, stream)
            source.array[:] = 2
            stream.synchronize()
            arrived.add(int(target.array[0]))
    assert arrived == {1, 2}


def test_releasing_too_early_is_seen() -> None:
    device = FakeDevice(eager=0)
    with device.current():
        stream, source, target, middle = device.stream(), device.pinned(8), device.pinned(8), device.allocate(8)
        source.array[:] = 1
        device.upload(middle, source.array, stream)
        device.download(target.array, middle, stream)
        source.close()
        stream.synchronize()
        assert (target.array == POISON).all()
        device.download(target.array, middle, stream)
        middle.close()
        with pytest.raises(DeviceError, match="no open buffer"):
            stream.synchronize()
        stream.close()
    device.close()
    assert len(device.misuses) == 2, device.misuses
    assert +device.open == {"pinned": 1}


def test_every_step_can_fail() -> None:
    reference = FakeDevice(3)
    copies(reference)
    failed = 0
    for step in range(reference.steps):
        device = FakeDevice(3, fail_at=step)
        with pytest.raises(DeviceError, match=f"step {step}"):
            copies(device)
        failed += device.dead is not None
    assert 0 < failed < reference.steps
    copies(FakeDevice(3, fail_at=reference.steps))


def test_memory_of_the_fake_ends_where_it_should() -> None:
    device = FakeDevice(memory=100, pinned=10)
    with device.current():
        kept = device.allocate(60)
        with pytest.raises(DeviceMemoryError):
            device.allocate(41)
        with pytest.raises(DeviceMemoryError):
            device.pinned(11)
        assert device.memory() == (40, 100)
        kept.close()
        device.allocate(100).close()


def test_simulated_time_shows_overlap() -> None:
    """Frames of 1 s up, 3 s of work and 1 s down: the first takes 5 s, each more 3 s where they overlap, else 5 s."""
    device = FakeDevice(copied=8)
    with device.current():
        streams = [device.stream() for _ in range(3)]
        pinned, buffers = [device.pinned(8) for _ in streams], [device.allocate(8) for _ in streams]
        begin, end = device.event(timed=True), device.event(timed=True)
        begin.record(streams[0])
        for frame in range(9):
            slot = frame % 3
            streams[slot].synchronize()
            device.upload(buffers[slot], pinned[slot].array, streams[slot])
            device.compute(streams[slot], lambda: None, seconds=3)
            device.download(pinned[slot].array, buffers[slot], streams[slot])
        for stream in streams[:2]:
            end.record(stream)
            streams[2].wait(end)
        end.record(streams[2])
        end.synchronize()
        assert 29 - 1e-6 <= end.since(begin) < 40
        begin.record(streams[0])
        for _ in range(3):
            device.compute(streams[0], lambda: None, seconds=3)
            device.download(pinned[0].array, buffers[0], streams[0])
        end.record(streams[0])
        end.synchronize()
        assert end.since(begin) == pytest.approx(12)
