"""The dictionaries of sparse coding (Yang et al., TIP 2010, section III.C), learnt by scikit-learn.

The coarse one is learnt on features of low-resolution patches. The fine one is then the least-squares answer to the
codes that the network really finds (Zeyde et al., 2010, equation 9), so that both fit however the codes are computed.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vsr.networks.cubic import Cubic
from vsr.networks.sparse import ATOMS, CONTEXT, PATCH, SparseCoding
from vsr.training.data import Dataset
from vsr.training.learn import as_input

PATCHES = 60_000
SIDE = 16  # low-resolution pixels of the pieces patches are taken from
LEAST = 0.02  # root mean square of a patch's features, below which it is too flat to learn from (section III.C)
PENALTY = 0.03  # lambda of equation 8, for luma of 0..1
RIDGE = 1e-3


def learn(model: SparseCoding, dataset: Dataset, *, seed: int, patches: int = PATCHES) -> SparseCoding:
    """The network with dictionaries learnt from the pictures; takes some minutes."""
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    torch.manual_seed(seed)
    low, high = dataset.batch(0, seed=seed, size=patches // SIDE, patch=SIDE)
    given, wanted = as_input(low), as_input(high)
    features = _lively(functional.unfold(model.features(given), 2 * PATCH, stride=2), seed)
    learner = MiniBatchDictionaryLearning(
        ATOMS, alpha=PENALTY, batch_size=1024, max_iter=20, random_state=seed, transform_algorithm="lasso_lars"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of single patches, which don't matter
        atoms = learner.fit(features).components_
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    model.hold(torch.from_numpy(atoms).float(), PENALTY)
    model.fine.copy_(_fitted(model, given, wanted).reshape(model.fine.shape))
    return model


def _lively(patches: Tensor, seed: int) -> NDArray[np.float32]:
    """(patches, features) of those that aren't flat."""
    rows: NDArray[np.float32] = patches.transpose(1, 2).flatten(0, 1).numpy()
    rows = rows[np.sqrt((rows**2).mean(1)) > LEAST]
    return rows[np.random.default_rng(seed).permutation(len(rows))[:PATCHES]]


@torch.no_grad()
def _fitted(model: SparseCoding, given: Tensor, wanted: Tensor) -> Tensor:
    """(atoms, pixels of a fine patch) that best make what interpolation misses of the codes."""
    scale, margin = model.scale, CONTEXT - Cubic(2).context
    missed = wanted - Cubic(scale)(given[:, :, margin:-margin, margin:-margin])
    gram = RIDGE * torch.eye(ATOMS, dtype=torch.float64)
    answer = torch.zeros(ATOMS, (PATCH * scale) ** 2, dtype=torch.float64)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # patches that lie within the piece
    for piece, picture in zip(given.split(64), missed.split(64), strict=True):
        codes = model.codes(piece)[inner].flatten(2).transpose(1, 2).flatten(0, 1).double()
        fine = functional.unfold(picture, PATCH * scale, stride=scale).transpose(1, 2).flatten(0, 1).double()
        gram += codes.T @ codes
        answer += codes.T @ fine
    solved: Tensor = torch.linalg.solve(gram, answer)
    return solved.float()
