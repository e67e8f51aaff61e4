"""SRGAN (Ledig et al., CVPR 2017, section 2): an upscaler learns against what tells its pictures from real ones.

The paper's content loss needs VGG19's weights, which aren't ours to ship. Without them the distance between pictures
and between what the discriminator sees in them (feature matching, Salimans et al., NIPS 2016, section 3.1) stand in.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from vsr.errors import InputError
from vsr.networks.srresnet import Discriminator
from vsr.training.learn import Batch, Learner, as_input, rate_at, stage_at
from vsr.training.losses import distance
from vsr.training.recipe import Stage

WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # VGG19's channels and convolutions between poolings
CONTENT = 0.006  # what brings squares of its features to the scale of the picture's, section 2.2.1
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue


class VGG(nn.Sequential):
    """Studio-range luma 0..1 (N, 1, H, W) -> what VGG19's last convolution sees (N, 512, H / 16, W / 16)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        modules: list[nn.Module] = []
        inputs = 3
        for width, count in WIDTHS:
            modules += [nn.MaxPool2d(2)] if modules else []
            for _ in range(count):
                modules += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
        super().__init__(*modules)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    @classmethod
    def read(cls, path: Path) -> VGG:
        """With torchvision's weights, as .pth or safetensors. Raises InputError where `path` doesn't hold them."""
        model = cls()
        try:
            given = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
            model.load_state_dict({name: given[f"features.{name}"] for name in model.state_dict()})
        except (OSError, SafetensorError, UnpicklingError, EOFError, RuntimeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: no weights of VGG19 as torchvision keeps them, .pth or .safetensors") from error
        return model.eval().requires_grad_(False)

    def forward(self, luma: Tensor) -> Tensor:
        grey = (255 * luma - 16) / 219  # red, green and blue alike
        x = (grey - self.mean) / self.deviation
        for module in self:
            x = module(x)
        return x


class Adversary(Learner):
    """A generator and its discriminator, one step of each in turn; only the generator's count."""

    def __init__(
        self,
        model: nn.Module,
        discriminator: Discriminator,
        stages: tuple[Stage, ...],
        seed: int,
        context: int,
        vgg: VGG | None = None,
    ) -> None:
        super().__init__(model, stages, seed, context)
        self.discriminator = discriminator
        self.vgg = (vgg,)  # in a tuple, so that no checkpoint or average holds it
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        optimizers = [torch.optim.Adam(part.parameters(), lr=1.0) for part in (self.model, self.discriminator)]
        schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(self.stages, step))
            for optimizer in optimizers
        ]
        return optimizers, schedules

    def training_step(self, batch: Batch, _index: int) -> None:  # type: ignore[override]
        planes, high, _, step = batch
        stage, _ = stage_at(self.stages, step)
        real = as_input(high)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=stage.bfloat16):
            fake = self.model(self.own(as_input(planes))).float()
        judged = self._judge(fake.detach(), real, stage)
        loss = self._generate(fake, real, stage)
        for schedule in cast(Any, self.lr_schedulers()):
            schedule.step()
        self.log_dict({"loss": 255 * loss, "discriminator": judged})

    def _judge(self, fake: Tensor, real: Tensor, stage: Stage) -> Tensor:
        """A step of the discriminator; returns its loss."""
        _, optimizer = cast(Any, self.optimizers(use_pl_optimizer=False))  # which Lightning doesn't count
        with torch.autocast(self.device.type, torch.bfloat16, enabled=stage.bfloat16):
            loss = _believed(self.discriminator(real), 1) + _believed(self.discriminator(fake), 0)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss.detach()

    def _generate(self, fake: Tensor, real: Tensor, stage: Stage) -> Tensor:
        """A step of the generator; returns the distance of the pictures."""
        optimizer, _ = cast(Any, self.optimizers())
        self.discriminator.requires_grad_(False)
        apart = distance(fake, real, stage)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=stage.bfloat16):
            seen = self.discriminator.seen(fake)
            loss = stage.adversarial * _believed(self.discriminator.verdict(seen[-1]), 1)
            loss = loss + self._content(fake, real, apart, seen, stage)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.discriminator.requires_grad_(True)
        return apart.detach()

    def _content(self, fake: Tensor, real: Tensor, apart: Tensor, seen: list[Tensor], stage: Stage) -> Tensor:
        (vgg,) = self.vgg
        if vgg is not None:
            vgg = vgg.to(self.device)
            return CONTENT * functional.mse_loss(vgg(fake), vgg(real))
        with torch.no_grad():
            wanted = self.discriminator.seen(real)
        apart_there = torch.stack([functional.l1_loss(a, b) for a, b in zip(seen, wanted, strict=True)])
        return apart + stage.matching * apart_there.mean()


def _believed(odds: Tensor, truth: float) -> Tensor:
    """Cross entropy of the discriminator's odds."""
    return functional.binary_cross_entropy_with_logits(odds.float(), torch.full_like(odds, truth, dtype=torch.float32))
