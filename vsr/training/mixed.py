"""One network for several scales (VDSR, Kim et al., CVPR 2016, section 3.3): each batch is of one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vsr.training.data import Dataset, Pair


@dataclass(frozen=True)
class Mixed:
    """The same pictures reduced by several scales; the first one's held-out pairs validate."""

    datasets: tuple[Dataset, ...]

    @property
    def context(self) -> int:
        return self.datasets[0].context

    @property
    def holdout(self) -> tuple[Pair, ...]:
        return self.datasets[0].holdout

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[Tensor, Tensor, int]:
        """As that of `Dataset`, and the scale it is of: an even choice by seed and step.

        `patch` counts pixels of the first scale; patches of the others cover about as much of the picture.
        """
        chosen = self.datasets[np.random.default_rng((seed, step, 1)).integers(len(self.datasets))]
        side = patch * self.datasets[0].scale // chosen.scale
        return *chosen.batch(step, seed=seed, size=size, patch=side), chosen.scale

    def to(self, device: torch.device) -> Self:
        """The same with all training planes on `device`."""
        return replace(self, datasets=tuple(dataset.to(device) for dataset in self.datasets))
