"""Pictures: the curve of a training run, and quality against time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vsr.errors import UsageError

if TYPE_CHECKING:
    from vsr.training.evaluate import Row


def check_drawing() -> None:
    """Raises UsageError where what draws isn't installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError('--plot needs matplotlib (pip install "vsr[train]")') from error


def draw(curve: Path, picture: Path) -> None:
    """Loss and held-out PSNR over the steps of a run, from the file it left."""
    from matplotlib.figure import Figure

    step, loss, holdout = np.loadtxt(curve, delimiter=",", skiprows=1, ndmin=2).T
    figure = Figure(figsize=(8, 4), layout="constrained")
    left = figure.subplots()
    left.set(title=curve.stem, xlabel="step", ylabel="loss, 8-bit codes", yscale="log")
    left.plot(step, loss, color="tab:gray", linewidth=0.8)
    right = left.twinx()
    right.set_ylabel("held-out pictures, dB")
    right.plot(step, holdout, color="tab:blue")
    figure.savefig(picture, dpi=120)


def draw_speed(rows: Sequence[Row], picture: Path, size: str) -> None:
    """PSNR against milliseconds a frame of `size`, one panel per scale; bicubic as a line, int8 in orange."""
    from matplotlib.figure import Figure

    scales = sorted({row.scale for row in rows})
    figure = Figure(figsize=(5 * len(scales), 4), layout="constrained")
    for panel, scale in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales, strict=True):
        panel.set(title=f"x{scale}", xlabel=f"ms a frame, {size} in", ylabel="luma PSNR, dB", xscale="log")
        for row in (row for row in rows if row.scale == scale):
            if row.milliseconds is None:
                panel.axhline(row.score.psnr, color="tab:gray", linewidth=0.8, label=row.name)
            else:
                colour = "tab:orange" if row.weights == "int8" else "tab:blue"
                panel.plot(row.milliseconds, row.score.psnr, "o", color=colour)
                panel.annotate(row.name.replace(f"_x{scale}", ""), (row.milliseconds, row.score.psnr), fontsize=7)
    figure.savefig(picture, dpi=120)
