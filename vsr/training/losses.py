"""How far pictures are from what they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from vsr.training.recipe import Loss, Stage


def distance(result: Tensor, reference: Tensor, stage: Stage) -> Tensor:
    """The stage's loss between pictures of 0..1."""
    loss = LOSSES[stage.loss](result, reference)
    if stage.spectrum:
        loss = loss + stage.spectrum * functional.l1_loss(_amplitudes(result), _amplitudes(reference))
    return loss


def _charbonnier(result: Tensor, reference: Tensor) -> Tensor:
    """Lai et al., CVPR 2017, equation 2."""
    return torch.sqrt((result - reference) ** 2 + 1e-6).mean()


LOSSES: Mapping[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": functional.l1_loss,
    "l2": functional.mse_loss,
    "charbonnier": _charbonnier,
}


def _amplitudes(pictures: Tensor) -> Tensor:
    spectrum: Tensor = torch.fft.rfft2(pictures, norm="ortho")
    return spectrum.abs()
