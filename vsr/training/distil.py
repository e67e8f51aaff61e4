"""Distillation (Hinton et al., 2015): beside the pictures, a larger network's results are what a smaller one learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.networks.mxcy import MxCy


@dataclass(frozen=True)
class Teacher:
    """A trained network of the same scale; not a module, so that no checkpoint or average holds it."""

    model: nn.Module

    @classmethod
    def of(cls, model: nn.Module) -> Teacher:
        """Of a network as it was trained."""
        plain = model.collapsed() if isinstance(model, MxCy) else model
        return cls(plain.eval().requires_grad_(False))

    @property
    def context(self) -> int:
        return cast(int, self.model.context)

    def distance(self, result: Tensor, low: Tensor, context: int) -> Tensor:
        """L1 between the student's `result` and this network's, from `low` that has `context` around."""
        with torch.no_grad():
            own: Tensor = self.model.to(low.device)(inner(low, context - self.context))
        return functional.l1_loss(result, own.float())


def inner(planes: Tensor, margin: int) -> Tensor:
    """(..., H, W) without a margin on each side."""
    return planes[..., margin : planes.shape[-2] - margin, margin : planes.shape[-1] - margin]
