"""Training in two processes against the same batches in one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

torch = pytest.importorskip("torch")

from vsr.errors import VsrError  # noqa: E402
from vsr.networks.mxcy import MxCy  # noqa: E402
from vsr.networks.srresnet import Discriminator, SRResNet  # noqa: E402
from vsr.training.adversarial import Adversary  # noqa: E402
from vsr.training.data import Dataset, Pair, load  # noqa: E402
from vsr.training.learn import fit, run  # noqa: E402
from vsr.training.recipe import Stage  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@dataclass(frozen=True)
class Joined:
    """Each batch is what two processes have for themselves."""

    dataset: Dataset

    @property
    def context(self) -> int:
        return self.dataset.context

    @property
    def holdout(self) -> tuple[Pair, ...]:
        return self.dataset.holdout

    def batch(self, step: int, **options: int) -> tuple[Any, Any]:
        pairs = [self.dataset.batch(at, **options) for at in (2 * step, 2 * step + 1)]
        low, high = (torch.cat(planes) for planes in zip(*pairs, strict=True))
        return low, high

    def to(self, device: Any) -> Self:
        return self


@dataclass(frozen=True)
class Failing(Joined):
    """Stands for a device that breaks down."""

    def batch(self, step: int, **options: int) -> tuple[Any, Any]:
        raise RuntimeError("it broke")


def weights_of(model: Any) -> Any:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_two_processes_share_their_gradients(photographs: Path, tmp_path: Path) -> None:
    dataset = load(photographs, tmp_path / "x2.npz", scale=2, context=6)
    stages = (Stage(steps=3, rate=1e-3, batch=2, patch=12, bfloat16=False),)

    def trained(source: Any, devices: int) -> Any:
        torch.manual_seed(1)
        model = MxCy(4, 8, 1, 2)
        checkpoint = tmp_path / f"{devices}"
        return weights_of(fit(model, source, stages, seed=1, average=0.5, checkpoint=checkpoint, devices=devices))

    torch.manual_seed(1)
    new = weights_of(MxCy(4, 8, 1, 2))
    one, two = trained(Joined(dataset), 1), trained(dataset, 2)
    assert float((one - new).abs().max()) > 1e-3
    assert float(((one - two).abs() < 1e-5).float().mean()) > 0.99
    lines = [path.read_text().splitlines() for path in (tmp_path / "1.csv", tmp_path / "2.csv")]
    assert [len(written) for written in lines] == [2, 2]  # once, not by each
    with pytest.raises(VsrError, match="2 devices: RuntimeError: it broke"):
        trained(Failing(dataset), 2)


def test_an_adversary_in_two_processes(photographs: Path, tmp_path: Path) -> None:
    dataset = load(photographs, tmp_path / "x2.npz", scale=2, context=0)
    stage = Stage(steps=2, rate=1e-3, adversarial=1e-3, matching=0.05, batch=1, patch=48, bfloat16=False)
    torch.manual_seed(1)
    learner = Adversary(SRResNet(1, 2), Discriminator(2), (stage,), 1, 0)
    before = [weights_of(part) for part in (learner.model, learner.discriminator)]
    run(learner, dataset, average=0.5, checkpoint=tmp_path / "a", devices=2)
    after = [weights_of(part) for part in (learner.model, learner.discriminator)]
    assert all(float((a - b).abs().max()) > 1e-4 for a, b in zip(before, after, strict=True))
