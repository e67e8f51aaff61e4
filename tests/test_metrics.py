"""The protocol of the papers: imresize, luma, PSNR, SSIM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vsr.metrics import imresize, luma, modcrop, psnr, ssim, to_uint8

PUBLISHED_BICUBIC = {2: 33.66, 3: 30.39, 4: 28.42}  # dB on Set5


def test_enlarging_spreads_an_impulse_by_keys_kernel() -> None:
    plane = np.zeros((9, 9))
    plane[4] = 1
    column = imresize(plane, 2)[:, 8]
    half = [0.8671875, 0.2265625, -0.0703125, -0.0234375]
    np.testing.assert_allclose(column[5:13], [*half[::-1], *half], atol=1e-12)
    assert not column[:5].any()


def test_reducing_stretches_the_kernel() -> None:
    plane = np.zeros((32, 32))
    plane[15] = 1
    column = imresize(plane, 0.5)[:, 8]  # output i lies at 2 i + 0.5: the impulse is 2.5, 0.5, 1.5 and 3.5 away
    np.testing.assert_allclose(column[5:11], [0, -0.03515625, 0.43359375, 0.11328125, -0.01171875, 0], atol=1e-12)


@pytest.mark.parametrize("factor", [0.5, 1 / 3, 0.25, 2, 3, 4])
def test_resizing_keeps_constants_and_averages(factor: float) -> None:
    assert np.allclose(imresize(np.full((24, 36), 77, np.uint8), factor), 77)
    ramp = np.tile(np.arange(48.0), (48, 1))
    inner = imresize(ramp, factor)[:, 12:-12] if factor > 1 else imresize(ramp, factor)[:, 4:-4]
    np.testing.assert_allclose(np.diff(inner, axis=1), 1 / factor, atol=1e-9)


def test_edges_are_reflected() -> None:
    plane = np.random.default_rng(0).random((8, 10))
    mirrored = np.pad(plane, 8, "symmetric")
    np.testing.assert_allclose(imresize(plane, 0.5), imresize(mirrored, 0.5)[4:-4, 4:-4], atol=1e-12)


def test_luma_is_studio_range() -> None:
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(corners).tolist() == [[16, 235, 81, 145, 41]]


def test_psnr_and_its_border() -> None:
    a = np.zeros((8, 8), np.uint8)
    b = a.copy()
    b[0, 0] = 255
    assert psnr(a, a) == float("inf")
    assert psnr(a, b) == pytest.approx(10 * np.log10(64))
    assert psnr(a, b, border=1) == float("inf")


def test_ssim_by_its_definition() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 12, 13)).astype(np.uint8)
    taps = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    window = np.outer(taps, taps) / taps.sum() ** 2
    expected = []
    for y, x in np.ndindex(2, 3):
        p, q = (plane[y : y + 11, x : x + 11].astype(float) for plane in (a, b))
        mp, mq = (window * p).sum(), (window * q).sum()
        vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
        cov = (window * (p - mp) * (q - mq)).sum()
        expected.append((2 * mp * mq + 6.5025) * (2 * cov + 58.5225) / ((mp**2 + mq**2 + 6.5025) * (vp + vq + 58.5225)))
    assert ssim(a, b) == pytest.approx(np.mean(expected), abs=1e-12)
    assert ssim(a, a) == pytest.approx(1)


def test_rounding_and_cropping() -> None:
    assert to_uint8(np.array([[-3.0, 0.49, 0.5, 254.5, 300.0]])).tolist() == [[0, 0, 1, 255, 255]]
    assert modcrop(np.zeros((11, 13), np.uint8), 4).shape == (8, 12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_reads_as_published(data: Path, scale: int) -> None:
    pytest.importorskip("cv2")
    from vsr.training.evaluate import PictureSet, bicubic, score

    test = PictureSet.read(data / "test" / "Set5")
    assert score(bicubic(scale), test.planes, scale=scale).psnr == pytest.approx(PUBLISHED_BICUBIC[scale], abs=0.01)
