"""The clock that benchmarks/latency.py paints and reads, and the ages it makes of what it read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.clock import ROW, SIDE, read, squares
from benchmarks.latency import Sightings
from screens import xvfb

ROOT = Path(__file__).resolve().parent.parent
STAMP = 48_123_456_789_012


def painted(stamp: int, size: tuple[int, int] = (640, 360)) -> np.ndarray:
    plane = np.full((size[1], size[0]), 90, np.uint8)
    code = squares(stamp).repeat(SIDE, 0).repeat(SIDE, 1)
    plane[: ROW * SIDE, : ROW * SIDE] = np.where(code, 235, 16)
    return plane


@pytest.mark.parametrize("stamp", [0, 1, STAMP, (1 << 48) - 1])
def test_a_stamp_is_read_back(stamp: int) -> None:
    assert read(painted(stamp)) == stamp


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("interpolation", [cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_NEAREST])
def test_scaling_and_noise_leave_it_readable(scale: int, interpolation: int) -> None:
    noise = np.random.default_rng(0).normal(0, 40, (360, 640))
    noisy = np.clip(painted(STAMP) + noise, 0, 255).astype(np.uint8)
    assert read(cv2.resize(noisy, None, fx=scale, fy=scale, interpolation=interpolation), scale) == STAMP


def test_what_is_torn_or_missing_is_not_read() -> None:
    torn = painted(STAMP)
    torn[: ROW * SIDE // 2] = painted(STAMP ^ 0xABCDEF0123)[: ROW * SIDE // 2]
    assert read(torn) is None
    assert read(np.zeros((360, 640), np.uint8)) is None
    assert read(np.zeros((100, 640), np.uint8)) is None


def test_only_first_sights_count() -> None:
    seen = Sightings()
    for stage, stamp, at in (
        ("captured", 1_000_000, 1.010),
        ("captured", 1_000_000, 1.030),  # again
        ("captured", 2_000_000, 2.020),
        ("upscaled", 2_000_000, 2.035),
        ("captured", None, 2.1),
    ):
        seen.see(stage, stamp, at)
    ages = seen.ages(0.0)
    assert (ages["captured"]["p50"], ages["captured"]["count"]) == (15.0, 2)
    assert ages["captured to upscaled"]["p50"] == 15.0
    assert "shown" not in ages
    assert seen.unread == 1
    assert seen.ages(1.5)["captured"]["count"] == 1


@pytest.mark.slow
def test_a_run_fills_every_stage(tmp_path: Path) -> None:
    for library in ("glfw", "moderngl"):
        pytest.importorskip(library)
    with xvfb("64x48"):  # skips where there is none
        pass
    out = tmp_path / "latency.json"
    command = [sys.executable, "-m", "benchmarks.latency", "--seconds", "4", "--network", "m4c8", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    runs = json.loads(out.read_text())["runs"]
    assert set(runs["no window"]["ages_ms"]) >= {"captured", "converted", "upscaled", "captured to upscaled"}
    assert set(runs["window"]["ages_ms"]) >= {"captured", "converted", "upscaled", "shown", "grabbed back"}
    order = [runs["window"]["ages_ms"][name]["p50"] for name in ("captured", "upscaled", "shown")]
    assert order == sorted(order)
    assert runs["no window"]["unread"] == 0
    assert runs["window"]["unread"] < 0.1 * runs["window"]["looks"]  # a window just opened is black
