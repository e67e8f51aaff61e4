"""The training loop: one function of (model, pictures, stages, seed), resumable to the same bits on one thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vsr.errors import InputError, UsageError
from vsr.metrics import psnr, to_uint8
from vsr.networks import build
from vsr.networks.mxcy import MxCy
from vsr.training.data import Dataset, Pair, Plane, load
from vsr.training.recipes import Recipe, Stage

Model = TypeVar("Model", bound=nn.Module)

REVIVAL = 64  # patches by which channels count as dead
VALIDATION_SIDE = 192  # low-resolution pixels of the centre piece a held-out picture is judged by


def train(recipe: Recipe, data: Path, out: Path, *, resume: bool = False, log: Callable[[str], None] = print) -> MxCy:
    """The float network of `recipe`, over-parameterised; its weights are kept in `out`/NAME.pt.

    `out` also holds the decoded pictures and the checkpoint. A recipe that starts from another needs that one's
    weights in `out` first.
    """
    model = start(recipe, out)
    dataset = load(data, out / f"x{recipe.scale}.npz", scale=recipe.scale, radius=model.radius)
    trained = fit(
        model,
        dataset,
        recipe.stages,
        seed=recipe.seed,
        average=recipe.average,
        checkpoint=out / f"{recipe.name}.checkpoint.pt",
        resume=resume,
        log=log,
    )
    torch.save(trained.state_dict(), out / f"{recipe.name}.pt")
    return trained


def start(recipe: Recipe, out: Path) -> MxCy:
    """The network before its first step: new, or with the body of the recipe it starts from."""
    torch.manual_seed(recipe.seed)
    model = untrained(recipe).expanded()
    if recipe.start is not None:
        state = _weights(out, recipe.start)
        body = {name: tensor for name, tensor in state.items() if not name.startswith(model.last)}
        model.load_state_dict(body, strict=False)
    return model


def load_trained(recipe: Recipe, out: Path) -> MxCy:
    """The network `train` left in `out`, over-parameterised."""
    model = untrained(recipe).expanded()
    model.load_state_dict(_weights(out, recipe.name))
    return model


def untrained(recipe: Recipe) -> MxCy:
    """The plain network of `recipe`; raises UsageError for a network that has no recipes yet."""
    model = build(recipe.network, recipe.scale)
    if not isinstance(model, MxCy):
        raise UsageError(f"{recipe.network}: only the MxCy networks can be trained so far")
    return model


def fit(
    model: Model,
    dataset: Dataset,
    stages: tuple[Stage, ...],
    *,
    seed: int,
    average: float,
    checkpoint: Path,
    resume: bool = False,
    every: int = 2_500,
    log: Callable[[str], None] = print,
) -> Model:
    """Train through all stages and return the moving average of the weights; save and validate `every` so many steps.

    Batches depend on seed and step alone, so a run resumed from `checkpoint` equals an unbroken one.
    """
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(average))
    optimiser = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99), fused=True)
    step = _load(checkpoint, model, ema, optimiser) if resume and checkpoint.exists() else 0
    total = sum(stage.steps for stage in stages)
    while step < total:
        _revive(model, optimiser, dataset, stages, step, seed)
        loss = _step(model, optimiser, dataset, stages, step, seed)
        ema.update_parameters(model)
        step += 1
        if step % every == 0 or step == total:
            _save(checkpoint, step, model, ema, optimiser)
            log(f"step {step} loss {255 * loss:.4f} holdout {validate(ema.module, dataset):.3f} dB")
    return cast(Model, ema.module)


def validate(model: nn.Module, dataset: Dataset) -> float:
    """Mean PSNR over the centre pieces of the held-out pictures."""
    scores = [_score(model, pair, dataset) for pair in dataset.holdout]
    return sum(scores) / len(scores)


def as_input(planes: Plane) -> Tensor:
    """(N, 1, H, W) 8-bit planes as float32 0..1, channels last."""
    return (torch.from_numpy(planes).float() / 255).contiguous(memory_format=torch.channels_last)


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


def _weights(out: Path, name: str) -> dict[str, Tensor]:
    path = out / f"{name}.pt"
    if not path.exists():
        raise InputError(f"{path} is missing; train the recipe {name} into {out} first")
    try:
        state: dict[str, Tensor] = torch.load(path, weights_only=True)
    except (UnpicklingError, RuntimeError) as error:
        raise InputError(f"{path}: not weights that vsr-train wrote; train the recipe {name} anew") from error
    return state


def _revive(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    dataset: Dataset,
    stages: tuple[Stage, ...],
    step: int,
    seed: int,
) -> None:
    """Where a stage that asks for it begins: dead channels live again and the optimiser forgets."""
    stage, local = stage_at(stages, step)
    if local == 0 and stage.revive and isinstance(model, MxCy):
        torch.manual_seed(seed + step)
        low, _ = dataset.batch(step, seed=seed, size=REVIVAL, patch=48)
        model.revive(as_input(low), least=stage.revive)
        optimiser.state.clear()


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    dataset: Dataset,
    stages: tuple[Stage, ...],
    step: int,
    seed: int,
) -> float:
    stage, _ = stage_at(stages, step)
    for group in optimiser.param_groups:
        group["lr"] = rate_at(stages, step)
    low, high = dataset.batch(step, seed=seed, size=stage.batch, patch=stage.patch)
    with torch.autocast("cpu", torch.bfloat16, enabled=stage.bfloat16):
        result = model(as_input(low))
    distance = functional.l1_loss if stage.loss == "l1" else functional.mse_loss
    loss = distance(result, as_input(high))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


@torch.no_grad()
def _score(model: nn.Module, pair: Pair, dataset: Dataset) -> float:
    radius, scale = dataset.radius, dataset.scale
    height, width = (min(VALIDATION_SIDE, side - 2 * radius) for side in pair.low.shape)
    y, x = ((s - 2 * radius - side) // 2 for s, side in zip(pair.low.shape, (height, width), strict=True))
    low = pair.low[y : y + height + 2 * radius, x : x + width + 2 * radius]
    high = pair.high[scale * y : scale * (y + height), scale * x : scale * (x + width)]
    result = model(as_input(low[None, None]))[0, 0]
    return psnr(to_uint8(255 * result.numpy()), high, border=scale)


def _save(path: Path, step: int, model: nn.Module, ema: AveragedModel, optimiser: torch.optim.Optimizer) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _load(path: Path, model: nn.Module, ema: AveragedModel, optimiser: torch.optim.Optimizer) -> int:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    ema.load_state_dict(state["ema"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
