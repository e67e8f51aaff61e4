"""What the classic networks' starts share: a first filter that passes luma, and others that see edges."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


@torch.no_grad()
def see_edges(layer: nn.Conv2d, *, gain: float = 1.0) -> None:
    """Filters of sum 0 but for the first, bias 0: flat parts no longer decide which side of 0 an answer is on."""
    edges = layer.weight[1:]
    edges -= edges.mean((1, 2, 3), keepdim=True)
    edges *= gain
    cast(Tensor, layer.bias)[1:] = 0
