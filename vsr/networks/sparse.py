"""Sparse coding (Yang et al., TIP 2010, section III) as convolutions: the same codes for coarse and fine patches.

The codes minimise |D_l a - y|^2 / 2 + lambda |a|_1 (equation 8) by a fixed number of steps of iterative shrinkage
(ISTA: Daubechies et al. 2004, equation 1.4), which are 1x1 convolutions: nothing is learned but the two dictionaries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.networks.cubic import Cubic
from vsr.networks.table import CUBIC_RADIUS

ATOMS = 256
STEPS = 12
PATCH = 3  # low-resolution pixels a side
CONTEXT = CUBIC_RADIUS + 4


class SparseCoding(nn.Module):
    """(N, 1, H + 2c, W + 2c) float32 luma 0..1, edge-padded by c = `context` -> (N, 1, scale H, scale W), unclipped.

    Features are the paper's: first and second derivatives of the picture enlarged by 2 (section III.A).
    """

    derivatives: Tensor
    analysis: Tensor
    kept: Tensor
    threshold: Tensor
    fine: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.context = CONTEXT
        self.scale = scale
        self.doubled, self.enlarged = Cubic(2), Cubic(scale)
        first = torch.tensor([0.0, -1, 0, 1, 0])
        second = torch.tensor([1.0, 0, -2, 0, 1])
        kernels = torch.zeros(4, 1, 5, 5)
        kernels[0, 0, 2], kernels[1, 0, :, 2], kernels[2, 0, 2], kernels[3, 0, :, 2] = first, first, second, second
        self.register_buffer("derivatives", kernels, persistent=False)
        self.register_buffer("analysis", torch.zeros(ATOMS, 4, 2 * PATCH, 2 * PATCH))
        self.register_buffer("kept", torch.zeros(ATOMS, ATOMS, 1, 1))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("fine", torch.zeros(ATOMS, 1, scale * PATCH, scale * PATCH))
        self.hold(functional.normalize(torch.randn(ATOMS, 4 * (2 * PATCH) ** 2)), 0.1)

    def hold(self, atoms: Tensor, penalty: float) -> None:
        """Take a coarse dictionary, (atoms, features of a patch), and lambda; a step of ISTA is 1 / |D D^T|."""
        gram = atoms @ atoms.T
        step = 1 / gram.abs().sum(0).max()  # no more than the inverse of the largest eigenvalue
        self.analysis.copy_((step * atoms).reshape(self.analysis.shape))
        self.kept.copy_((torch.eye(ATOMS) - step * gram)[:, :, None, None])
        self.threshold.copy_(step * penalty)

    def features(self, x: Tensor) -> Tensor:
        """(N, 4, 2h, 2w) of (N, 1, h + 8, w + 8)."""
        inner = functional.conv2d(self.doubled(x), self.derivatives)
        return inner[:, :, 2:-2, 2:-2]

    def codes(self, x: Tensor) -> Tensor:
        """(N, atoms, h - 2, w - 2) for every patch of the features of (N, 1, h + 8, w + 8)."""
        seen = functional.conv2d(self.features(x), self.analysis, stride=2)
        code = _shrunk(seen, self.threshold)
        for _ in range(STEPS - 1):
            code = _shrunk(functional.conv2d(code, self.kept) + seen, self.threshold)
        return code

    def forward(self, x: Tensor) -> Tensor:
        margin = self.context - CUBIC_RADIUS
        enlarged: Tensor = self.enlarged(x[:, :, margin:-margin, margin:-margin])
        detail = functional.conv_transpose2d(self.codes(x), self.fine, stride=self.scale) / PATCH**2
        surplus = 2 * self.scale  # patches that begin two pixels outside
        return enlarged + detail[:, :, surplus:-surplus, surplus:-surplus]


def _shrunk(code: Tensor, threshold: Tensor) -> Tensor:
    return functional.relu(code - threshold) - functional.relu(-code - threshold)
