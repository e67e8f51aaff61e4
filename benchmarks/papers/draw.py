"""One small PNG per experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.papers.runs import Result


def curves(results: list[Result], picture: Path) -> None:
    """Held-out PSNR over the steps, a line a run; and where the runs end, held-out and test pictures."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    left.set(xlabel="step", ylabel="held-out pictures, dB")
    labels = list(dict.fromkeys(result.label for result in results))
    for result in results:
        colour = f"C{labels.index(result.label)}"
        left.plot(*zip(*result.curve, strict=True), color=colour, linewidth=1)
        for panel, scores in ((middle, result.holdout), (right, result.test)):
            panel.plot(*scores.values(), labels.index(result.label), "o", color=colour)
    for panel, title in ((middle, "held out, dB"), (right, "Set5, dB")):
        panel.set(xlabel=title, ylim=(len(labels) - 0.5, -0.5))
        panel.set_yticks(range(len(labels)), labels if panel is middle else [""] * len(labels))
        panel.grid(axis="x", linewidth=0.3)
    top = max(psnr for result in results for _, psnr in result.curve)
    left.set_ylim(max(min(psnr for result in results for _, psnr in result.curve[1:]), top - 6), top + 0.1)
    figure.savefig(picture, dpi=80)


def by_scale(results: list[Result], picture: Path) -> None:
    """Held-out PSNR at each scale, bars by what the network was trained for, a dot a run."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    labels = list(dict.fromkeys(result.label for result in results))
    for panel, scale in zip(figure.subplots(1, 3), (2, 3, 4), strict=True):
        for result in results:
            panel.plot(labels.index(result.label), result.holdout[scale], "o", color=f"C{labels.index(result.label)}")
        panel.set(title=f"judged at x{scale}", ylabel="held-out pictures, dB")
        panel.set_xticks(range(len(labels)), labels)
        panel.grid(axis="y", linewidth=0.3)
    figure.savefig(picture, dpi=80)


def filters(results: list[Result], picture: Path) -> None:
    """The first layers' kernels, each from its least to its greatest weight, by variance (figure 5)."""
    figure = Figure(figsize=(8, 2.6 * len(results)), layout="constrained")
    for part, result in zip(figure.subfigures(len(results), squeeze=False)[:, 0], results, strict=True):
        part.suptitle(result.label, fontsize=10)
        kernels = next(result.model.parameters()).detach().numpy()[:, 0]
        order = np.argsort(-kernels.var((1, 2)))
        for panel, kernel in zip(part.subplots(4, len(kernels) // 4).flat, kernels[order], strict=True):
            panel.imshow(kernel, cmap="gray")
            panel.set_axis_off()
    figure.savefig(picture, dpi=80)
