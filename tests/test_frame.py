"""Frames are checked when made; buffers are counted."""

from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest

from vsr.frame import PLANE_ALIGNMENT, Frame, FramePool, FramePools, Memory, PlanarFormat, TrackFacts, aligned_buffer

FORMATS = [PlanarFormat(chroma=c, depth=d) for c in ("grey", "420", "422", "444") for d in (8, 10, 16)]


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.pix_fmt)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 48)])
def test_views_tile_the_buffer(format: PlanarFormat, size: tuple[int, int]) -> None:
    buffer = np.zeros(format.nbytes(*size), np.uint8)
    views = format.views(buffer, *size)
    assert tuple(v.shape for v in views) == format.shapes(*size)
    for number, view in enumerate(views, 1):
        assert view.flags.c_contiguous
        assert (view.__array_interface__["data"][0] - buffer.ctypes.data) % PLANE_ALIGNMENT == 0
        assert not view.any(), "planes overlap"
        view[:] = number


def test_names_go_both_ways() -> None:
    for format in FORMATS:
        assert PlanarFormat.of(format.pix_fmt) == format
    assert PlanarFormat.of("yuvj420p") == PlanarFormat()
    assert PlanarFormat.of("nv12") is None
    assert PlanarFormat(chroma="422", depth=10).pix_fmt == "yuv422p10le"


def test_chroma_of_odd_sizes_is_rounded_up() -> None:
    assert PlanarFormat(chroma="420").shapes(5, 3) == ((3, 5), (2, 3), (2, 3))
    assert PlanarFormat(chroma="422").shapes(5, 3) == ((3, 5), (3, 3), (3, 3))


@pytest.mark.parametrize(("chroma", "depth"), [("411", 8), ("420", 7), ("420", 17)])
def test_formats_that_dont_exist(chroma: str, depth: int) -> None:
    with pytest.raises(ValueError, match="no planar format"):
        PlanarFormat(chroma=chroma, depth=depth)  # type: ignore[arg-type]


def grey(plane: np.ndarray, **facts: object) -> Frame:
    return Frame(format=PlanarFormat(chroma="grey"), width=4, height=2, planes=(plane,), **facts)  # type: ignore[arg-type]


def test_planes_that_dont_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="needs planes"):
        grey(np.zeros((4, 2), np.uint8))
    with pytest.raises(ValueError, match="dense uint8"):
        grey(np.zeros((2, 4), np.uint16))
    with pytest.raises(ValueError, match="dense uint8"):
        grey(np.zeros((2, 8), np.uint8)[:, ::2])
    with pytest.raises(ValueError, match="at least 1x1"):
        Frame(format=PlanarFormat(), width=0, height=2, planes=())


def test_like_carries_everything_but_the_picture() -> None:
    facts = TrackFacts(aspect=Fraction(4, 3))
    side = {"A53": b"cc"}
    frame = grey(np.zeros((2, 4), np.uint8), pts=7, duration=3, index=9, key=True, side_data=side, facts=facts)
    other = frame.like(
        format=PlanarFormat(chroma="grey", depth=10), width=1, height=1, planes=(np.zeros((1, 1), "u2"),), lease=None
    )
    assert (other.pts, other.duration, other.index, other.key, other.side_data, other.facts) == (
        7,
        3,
        9,
        True,
        side,
        facts,
    )
    assert (other.width, other.format.depth) == (1, 10)


def test_facts_that_cant_be() -> None:
    with pytest.raises(ValueError, match="above 0"):
        TrackFacts(aspect=Fraction(0))
    with pytest.raises(ValueError, match="9 numbers"):
        TrackFacts(display_matrix=(1, 2, 3))


def test_pool_reuses_and_counts() -> None:
    pool = FramePool(PlanarFormat(), 8, 6)
    planes, lease = pool.take()
    frame = Frame(format=pool.format, width=8, height=6, planes=planes, lease=lease)
    assert pool.leased == 1
    with pytest.raises(RuntimeError, match="never released"):
        pool.close()
    frame.release()
    assert pool.leased == 0
    with pytest.raises(RuntimeError, match="released twice"):
        frame.release()
    again, second = pool.take()
    assert again[0].ctypes.data % PLANE_ALIGNMENT == 0
    second.release()
    pool.close()


@pytest.mark.parametrize("memory", [None, aligned_buffer])
def test_pools_keep_an_idle_size_in_memory_that_was_given(memory: Memory | None) -> None:
    pools, small, large = FramePools(memory), (PlanarFormat(), 8, 6), (PlanarFormat(), 16, 6)
    (first, *_), lease = pools.take(*small)
    _, other = pools.take(*large)
    assert pools.leased == 2
    lease.release()
    (again, *_), lease = pools.take(*small)
    assert again is not first
    assert again.base is first.base, "a size that is known takes its own buffer again"
    lease.release()
    _, third = pools.take(PlanarFormat(), 24, 6)
    (later, *_), lease = pools.take(*small)
    assert (later.base is first.base) == (memory is not None)
    with pytest.raises(RuntimeError, match="never released"):
        pools.close()
    for each in (lease, other, third):
        each.release()
    assert pools.leased == 0
    pools.close()


def test_pool_from_many_threads() -> None:
    pool = FramePool(PlanarFormat(chroma="grey"), 4, 4)

    def work(value: int) -> None:
        for _ in range(300):
            (plane,), lease = pool.take()
            plane[:] = value
            assert (plane == value).all(), "two threads hold one buffer"
            lease.release()

    failures: list[BaseException] = []
    threads = [threading.Thread(target=_keep, args=(work, n, failures)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    pool.close()


def _keep(work: object, value: int, failures: list[BaseException]) -> None:
    try:
        work(value)  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
        failures.append(error)
