"""The papers' experiments: each runs from its command line to its files, on pictures of nothing much."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import cv2  # noqa: E402

from benchmarks.papers.__main__ import main  # noqa: E402
from benchmarks.papers.experiments import EXPERIMENTS  # noqa: E402
from benchmarks.papers.shapes import Upsampled  # noqa: E402


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough small pictures for one to be held out."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    for index in range(26):
        coarse = rng.integers(0, 256, (9, 9), np.uint8)
        cv2.imwrite(str(folder / f"{index:02}.png"), cv2.resize(coarse, (108, 108), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_runs(name: str, photographs: Path, cache: Path, tmp_path: Path) -> None:
    """A plot and a record come out; every variant learned for three steps and was judged."""
    test = tmp_path / "test"
    test.mkdir()
    (test / "0.png").symlink_to(photographs / "00.png")
    folders = ["--data", str(photographs), "--test", str(test), "--cache", str(cache), "--out", str(tmp_path)]
    main([name, *folders, "--steps", "3", "--seeds", "1"])
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    runs = json.loads((tmp_path / f"{name}.json").read_text())["runs"]
    assert len({run["label"] for run in runs}) == len(runs) >= 2
    for run in runs:
        assert [step for step, _ in run["curve"]] == [1, 2, 3]
        assert all(0 < psnr < 60 for scores in (run["holdout"], run["test"]) for psnr in scores.values())


def test_deconvolution_is_the_sub_pixel_convolution() -> None:
    torch.manual_seed(1)
    sub_pixel = Upsampled(deconvolution=False)
    x = torch.rand(1, 1, 19, 22)
    with torch.no_grad():
        torch.testing.assert_close(sub_pixel.as_deconvolution()(x), sub_pixel(x), atol=1e-6, rtol=0)
