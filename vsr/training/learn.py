"""The training loop, Lightning's: checkpoints, resuming to the same bits on one thread, several devices, curves."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, Self, TypeVar, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.utils.data import DataLoader, IterableDataset

from vsr.errors import InputError, UsageError, VsrError
from vsr.metrics import psnr, to_uint8
from vsr.training.data import Dataset, Pair
from vsr.training.distil import Teacher, inner
from vsr.training.losses import distance
from vsr.training.recipe import Optimiser, Stage
from vsr.training.soap import Soap

Model = TypeVar("Model", bound=nn.Module)
Batch = tuple[Tensor, Tensor, list[Any], int]  # low, high, what else the network is told, step

VALIDATION_SIDE = 192  # low-resolution pixels of the centre piece a held-out picture is judged by
EXPECTED = (  # Lightning's warnings
    "does not have many workers",
    "IterableDataset",
    "exists and is not empty",
    "LeafSpec",
    "ModelCheckpoint with manual optimization",
    "Grad strides do not match",
)
EVERY = 2_500  # steps between checkpoints and validations


class Source(Protocol):
    """Where batches come from: a `Dataset`, or what makes more of one."""

    @property
    def context(self) -> int:
        """What batches and held-out pairs have around them: at least what the network wants."""

    @property
    def holdout(self) -> tuple[Pair, ...]: ...

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[Tensor, Tensor, *tuple[Any, ...]]:
        """Low, high, and what else the network is told."""

    def to(self, device: torch.device) -> Self: ...


def fit(
    model: Model,
    dataset: Source,
    stages: tuple[Stage, ...],
    *,
    seed: int,
    average: float,
    checkpoint: Path,
    optimiser: Optimiser = "adam",
    devices: int = 1,
    resume: bool = False,
    every: int = EVERY,
    log: Callable[[str], None] = print,
) -> Model:
    """Train through all stages and return the moving average of the weights; the rest as `run`."""
    learner = Learner(model, stages, seed, dataset.context, optimiser)
    how: Any = {"average": average, "checkpoint": checkpoint, "devices": devices, "resume": resume}
    run(learner, dataset, **how, every=every, log=log)
    return model


def run(
    learner: Learner,
    dataset: Source,
    *,
    average: float,
    checkpoint: Path,
    devices: int = 1,
    resume: bool = False,
    every: int = EVERY,
    log: Callable[[str], None] = print,
) -> None:
    """Train through the learner's stages, save and validate `every` so many steps; its weights end as their average.

    Batches depend on seed, step and device alone, so a run resumed from `checkpoint` equals an unbroken one. Several
    devices have a process and batches of their own each, and share gradients.
    """
    total = sum(stage.steps for stage in learner.stages)
    every = min(every, total)
    trainer = lightning.Trainer(
        max_steps=total,
        devices=devices,
        strategy=_strategy(learner, devices),
        logger=TensorBoardLogger(checkpoint.parent, name="curves", version=checkpoint.name),
        callbacks=[
            Says(log, total, checkpoint.with_name(f"{checkpoint.name}.csv")),
            WeightAveraging(multi_avg_fn=partial(follow, share=1 - average)),
            ModelCheckpoint(
                checkpoint.parent, checkpoint.stem, every_n_train_steps=every, enable_version_counter=False
            ),
        ],
        val_check_interval=every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=100,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    held_out = [(learner.own(pair.low), pair.high) for pair in dataset.holdout]
    last = checkpoint.with_name(f"{checkpoint.name}.ckpt")
    with warnings.catch_warnings():
        try:
            trainer.fit(
                learner,
                DataLoader(Patches(dataset, learner), batch_size=None),
                DataLoader(cast(Any, held_out), batch_size=None),
                ckpt_path=last if resume and last.exists() else None,
                weights_only=True,
            )
        except UnpicklingError as error:
            raise InputError(f"{last}: not a checkpoint that vsr-train wrote; delete it to start over") from error
        except ProcessRaisedException as error:
            raise VsrError(f"training on {devices} devices: {str(error).strip().splitlines()[-1]}") from error


def _strategy(learner: Learner, devices: int) -> str:
    """Processes that come and go with the training; where two optimisers take turns, each leaves weights out.

    Raises UsageError for more devices than there are.
    """
    if devices == 1:
        return "auto"
    there = torch.cuda.device_count()
    if devices < 1 or 0 < there < devices:
        raise UsageError(f"{devices} devices to train on; there are {there or 'as many as the CPU runs processes'}")
    return "ddp_spawn" if learner.automatic_optimization else "ddp_spawn_find_unused_parameters_true"


for name in ("lightning.pytorch", "lightning.fabric"):  # no advertisements
    logging.getLogger(name).setLevel(logging.WARNING)


def follow(averages: Sequence[Tensor], currents: Sequence[Tensor], _count: Any, *, share: float) -> None:
    """Moves the averages towards the current values by a share; what stays constant stays so to the bit."""
    for average, current in zip(averages, currents, strict=True):
        average.copy_(average.lerp(current, share) if average.is_floating_point() else current)


class Patches(IterableDataset[Batch]):
    """Batches of a run, from the step on at which the learner stands."""

    def __init__(self, dataset: Source, learner: Learner) -> None:
        self.dataset, self.learner = dataset, learner

    def __iter__(self) -> Iterator[Batch]:
        dataset, step = self.dataset.to(self.learner.device), self.learner.global_step
        stages, seed = self.learner.stages, self.learner.seed
        rank, ranks = self.learner.global_rank, self.learner.trainer.world_size
        while True:
            stage, _ = stage_at(stages, step)
            drawn = dataset.batch(step * ranks + rank, seed=seed, size=stage.batch, patch=stage.patch)
            low, high, *told = drawn
            yield low, high, told, step
            step += 1


class Learner(lightning.LightningModule):
    """A network with its loss and its rate, step by step.

    Args:
        context: what the low resolution has around it; what's more than the network's own is for the teacher.
    """

    def __init__(
        self,
        model: nn.Module,
        stages: tuple[Stage, ...],
        seed: int,
        context: int,
        optimiser: Optimiser = "adam",
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stages, self.seed, self.context = stages, seed, context
        self.optimiser, self.teacher = optimiser, teacher

    def configure_optimizers(self) -> Any:
        optimiser: torch.optim.Optimizer
        match self.optimiser:
            case "adam":
                optimiser = torch.optim.Adam(self.model.parameters(), lr=1.0, betas=(0.9, 0.99), fused=True)
            case "soap":
                optimiser = Soap(self.model.parameters(), rate=1.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(self.stages, step))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        planes, high, told, step = batch
        low = as_input(planes)
        stage, _ = stage_at(self.stages, step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=stage.bfloat16):
            result = self.model(self.own(low), *told).float()
            taught = self.teacher.distance(result, low, self.context) if self.teacher and stage.taught else 0.0
        loss = distance(result, as_input(high), stage)
        self.log("loss", 255 * loss)
        return loss + stage.taught * taught

    def own(self, low: Tensor) -> Tensor:
        """With no more around it than the network wants."""
        return inner(low, self.context - cast(int, self.model.context))

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_unused: Any, **_also: Any) -> None:
        clip = stage_at(self.stages, self.global_step)[0].clip
        if clip:
            torch.nn.utils.clip_grad_value_(self.model.parameters(), clip / optimizer.param_groups[0]["lr"])

    def validation_step(self, pair: tuple[Tensor, Tensor], _index: int) -> None:
        result = score(self.model, Pair(*pair), cast(Any, self.model).scale, self.device)
        self.log("holdout", result, batch_size=1, sync_dist=True)


class Says(Callback):
    """A line at every validation: step, loss, held-out PSNR, speed and the time left; the first three in a file too."""

    def __init__(self, say: Callable[[str], None], total: int, curve: Path) -> None:
        self.say, self.total, self.curve, self.begin, self.first = say, total, curve, 0.0, 0

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        warnings.filterwarnings("ignore", message=f".*({'|'.join(EXPECTED)})")  # here, in every process

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.begin, self.first = time.perf_counter(), trainer.global_step
        if not self.first and trainer.is_global_zero:
            self.curve.write_text("step,loss,holdout\n")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        step, loss, holdout = trainer.global_step, *(float(trainer.callback_metrics[k]) for k in ("loss", "holdout"))
        each = (time.perf_counter() - self.begin) / max(1, step - self.first)
        with self.curve.open("a") as file:
            file.write(f"{step},{loss:.4f},{holdout:.3f}\n")
        self.say(
            f"step {step} of {self.total} loss {loss:.4f} holdout {holdout:.3f} dB, "
            f"{1000 * each:.1f} ms a step, {(self.total - step) * each / 60:.0f} min left"
        )


def as_input(planes: Tensor) -> Tensor:
    """(N, 1, H, W) 8-bit planes as float32 0..1, channels last."""
    return (planes.float() / 255).contiguous(memory_format=torch.channels_last)


def validate(model: nn.Module, dataset: Dataset) -> float:
    """Mean PSNR over the centre pieces of the held-out pictures, on the CPU."""
    scores = [score(model, pair, dataset.scale, torch.device("cpu")) for pair in dataset.holdout]
    return sum(scores) / len(scores)


@torch.no_grad()
def score(model: nn.Module, pair: Pair, scale: int, device: torch.device) -> float:
    """PSNR in dB of the centre piece of a held-out picture."""
    context = cast(int, model.context)
    height, width = (min(VALIDATION_SIDE, side - 2 * context) // 2 * 2 for side in pair.low.shape)
    y, x = ((s - 2 * context - side) // 2 for s, side in zip(pair.low.shape, (height, width), strict=True))
    low = pair.low[y : y + height + 2 * context, x : x + width + 2 * context]
    high = pair.high[scale * y : scale * (y + height), scale * x : scale * (x + width)]
    result = model(as_input(low[None, None].to(device)))[0, 0]
    return psnr(to_uint8(255 * result.float().cpu().numpy()), high.cpu().numpy(), border=scale)


def stage_at(stages: tuple[Stage, ...], step: int) -> tuple[Stage, int]:
    """The stage `step` falls in, and the step within it, both from 0."""
    for stage in stages:
        if step < stage.steps:
            break
        step -= stage.steps
    return stage, step


def rate_at(stages: tuple[Stage, ...], step: int) -> float:
    """The learning rate of `step` (from 0)."""
    stage, local = stage_at(stages, step)
    warm = min(1.0, (local + 1) / (stage.warmup + 1))
    done = max(0.0, (local - stage.warmup) / max(1, stage.steps - stage.warmup))
    return stage.rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
