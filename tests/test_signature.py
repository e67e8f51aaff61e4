"""Signatures of frames, and what verification tells by them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest

from clips import picture
from vsr.signature import GRID, Signatures, shown_signature, signature
from vsr.verify.shown import codes, differing

Codes = npt.NDArray[np.int16]


@pytest.mark.parametrize("shape", [(64, 96), (1080, 1920), (33, 47), (5, 3), (1, 1), (1000, 9)])
@pytest.mark.parametrize("depth", [8, 10, 16])
def test_blocks_are_means(shape: tuple[int, int], depth: int) -> None:
    luma = np.full(shape, 3 << (depth - 3), np.uint8 if depth == 8 else np.uint16)
    assert signature(luma, depth) == bytes([96]) * GRID * GRID
    luma[:] = (1 << depth) - 1
    assert signature(luma, depth) == bytes([255]) * GRID * GRID


def test_blocks_lie_in_rows() -> None:
    luma = np.repeat(np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8), 20, axis=0), 30, axis=1)
    assert signature(luma, 8) == bytes(range(64))


def test_signatures_ride_on_packets_and_come_back_in_order() -> None:
    packets = []
    for pts in (5, 1, 3):
        packet = av.Packet(b"x")
        packet.pts, packet.opaque = pts, bytes([pts]) * 64
        packets.append(packet)
    signatures = Signatures()
    assert [packet.pts for packet in signatures.seen(packets)] == [5, 1, 3]
    assert signatures.in_order() == bytes([1]) * 64 + bytes([3]) * 64 + bytes([5]) * 64
    assert len(signatures) == 3
    assert len([*signatures.seen([av.Packet(b"x")])]) == 1
    assert len(signatures) == 3


def moving(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[: size[1], : size[0]]
    return (128 + 90 * np.sin((x + 6 * number) / 30) * np.cos(y / 25)).astype(np.uint8)


def noisy(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, size[::-1], np.uint8)


def fading(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.full(size[::-1], 40 + 4 * number, np.uint8)


def black(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.full(size[::-1], 16, np.uint8)


def flashing(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.full(size[::-1], 200 if number % 7 == 3 else 30, np.uint8)


def clip(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    plane = picture("yuv420p", size, number).planes[0]
    return np.frombuffer(bytes(plane), np.uint8).reshape(size[1], -1)[:, : size[0]]


CONTENT = {f.__name__: f for f in (moving, noisy, fading, black, flashing, clip)}
WORST = {
    "libx264": ("h264", {"preset": "veryfast", "crf": "51"}),
    "libx265": ("hevc", {"preset": "ultrafast", "crf": "51", "x265-params": "log-level=none"}),
    "libvpx-vp9": ("vp9", {"cpu-used": "8", "crf": "55", "b": "0", "deadline": "realtime"}),
}
USUAL = {
    "libx264": ("h264", {"preset": "veryfast", "crf": "18"}),
    "libx265": ("hevc", {"preset": "ultrafast", "crf": "20", "x265-params": "log-level=none"}),
    "libvpx-vp9": ("vp9", {"cpu-used": "8", "crf": "24", "b": "0", "deadline": "realtime"}),
}


def coded(
    content: Callable[..., npt.NDArray[np.uint8]], codec: str, decoder: str, options: dict[str, str], count: int = 30
) -> tuple[Codes, Codes]:
    """Signatures of frames before encoding and after decoding."""
    size = (192, 128)
    encoder, after = av.CodecContext.create(codec, "w"), av.CodecContext.create(decoder, "r")
    encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"  # type: ignore[attr-defined]
    encoder.time_base, encoder.options = Fraction(1, 25), options
    planned, packets = b"", []
    for number in range(count):
        luma = content(number, size)
        planned += signature(luma, 8)
        grey = np.full((size[1] // 2, size[0]), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(np.concatenate([luma, grey]), format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)  # type: ignore[attr-defined]
    packets += encoder.encode(None)  # type: ignore[attr-defined]
    frames = [frame for packet in [*packets, None] for frame in after.decode(packet)]  # type: ignore[attr-defined]
    shown = [shown_signature(frame) for frame in sorted(frames, key=lambda frame: frame.pts)]
    return codes(planned), codes(b"".join(filter(None, shown)))


@pytest.mark.parametrize("quality", [USUAL, WORST], ids=["usual", "worst"])
@pytest.mark.parametrize("codec", USUAL)
@pytest.mark.parametrize("content", CONTENT)
def test_no_coding_is_taken_for_another_picture(
    content: str, codec: str, quality: dict[str, tuple[str, dict[str, str]]]
) -> None:
    planned, shown = coded(CONTENT[content], codec, *quality[codec])
    assert len(planned) == len(shown) == 30
    assert list(differing(np.arange(30), shown, planned)) == []


@pytest.mark.parametrize("codec", USUAL)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("swapped", [12, 13]),
        ("frozen", [12]),
        ("green", [12]),
        ("a block", [12]),
        ("late", range(1, 30)),
        ("another film", range(30)),
    ],
)
def test_another_picture_is_found(codec: str, change: str, found: list[int]) -> None:
    planned, shown = coded(moving, codec, *USUAL[codec])
    if change == "swapped":
        shown[[12, 13]] = shown[[13, 12]]
    elif change == "frozen":
        shown[12] = shown[11]
    elif change == "green":
        shown[12] = 0
    elif change == "a block":
        shown[12, 30] += 40
    elif change == "late":
        shown = np.concatenate([shown[:1], shown[:-1]])
    else:
        shown = coded(flashing, codec, *USUAL[codec])[1]
    assert list(differing(np.arange(30), shown, planned)) == list(found)
    part = np.arange(8, 20)  # a sample of the track
    assert list(differing(part, shown[part], planned)) == [frame for frame in found if frame in part]
