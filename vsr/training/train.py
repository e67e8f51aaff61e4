"""From a recipe and pictures to weights: in float, then with quantisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vsr.errors import InputError, UsageError
from vsr.networks import build
from vsr.networks.espcn import ESPCN
from vsr.networks.fsrcnn import FSRCNN
from vsr.networks.mxcy import MxCy
from vsr.networks.sparse import SparseCoding
from vsr.networks.srcnn import SRCNN
from vsr.networks.srmd import SRMD
from vsr.networks.srresnet import Discriminator
from vsr.training.blur import Blurred, hold
from vsr.training.curves import draw
from vsr.training.data import Dataset, Sample, kept, load
from vsr.training.distil import Teacher
from vsr.training.learn import Learner, Source, as_input, fit, run
from vsr.training.mixed import Mixed
from vsr.training.quantise import QuantisedMxCy
from vsr.training.recipe import Recipe, find
from vsr.training.sparse import learn

CALIBRATION = 64  # patches
SHORT_AVERAGE = 0.99  # decay of the moving average of the weights where runs are short


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    clips: Path | None = None,
    vgg: Path | None = None,
    devices: int = 1,
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> nn.Module:
    """The float network of `recipe`, as it is trained; its weights are kept in `out`/NAME.safetensors.

    `out` also holds the decoded pictures, checkpoints and curves. A recipe that starts from another needs that one's
    weights in `out` first. Resuming takes finished weights as they are. `clips` holds videos beside the pictures of
    `data`, for recipes of stream weights; `vgg` torchvision's VGG19, for those with an adversary.
    """
    if resume and _file(out, recipe.name).exists():
        return load_trained(recipe, out)
    model = start(recipe, out)
    if isinstance(model, SparseCoding):
        learn(model, _pictures(recipe, data, out, model.context), seed=recipe.seed)
    elif recipe.stages:
        learner = _learner(recipe, model, out, vgg)
        run(
            learner,
            _source(recipe, data, out, learner, clips),
            average=recipe.average,
            checkpoint=out / recipe.name,
            devices=devices,
            resume=resume,
            log=log,
        )
        draw(out / f"{recipe.name}.csv", out / f"{recipe.name}.png")
    save_file(_contiguous(model), _file(out, recipe.name))
    return model


def train_int8(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    clips: Path | None = None,
    devices: int = 1,
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> QuantisedMxCy:
    """The quantised network of `recipe` from the float weights in `out`; its own are kept in `out`/NAME_int8."""
    float_network = load_trained(recipe, out)
    assert isinstance(float_network, MxCy)
    if resume and _file(out, f"{recipe.name}_int8").exists():
        model = QuantisedMxCy(float_network)
        model.load_state_dict(_weights(out, f"{recipe.name}_int8"))
        return model
    dataset = _pictures(recipe, data, out, float_network.context, clips)
    model = fit(
        calibrated(float_network, dataset, seed=recipe.seed),
        dataset,
        recipe.quantisation,
        seed=recipe.seed,
        average=SHORT_AVERAGE,
        checkpoint=out / f"{recipe.name}_int8",
        devices=devices,
        resume=resume,
        log=log,
    )
    save_file(_contiguous(model), _file(out, f"{recipe.name}_int8"))
    return model


def calibrated(model: MxCy, dataset: Dataset, *, seed: int) -> QuantisedMxCy:
    """The quantised network before training, its scales set on patches of the training pictures."""
    quantised = QuantisedMxCy(model)
    low, _ = dataset.batch(0, seed=seed, size=CALIBRATION, patch=48)
    quantised.calibrate(as_input(low))
    return quantised


def start(recipe: Recipe, out: Path) -> nn.Module:
    """The network before its first step: new, or with all of the weights it starts from that have the right shape."""
    torch.manual_seed(recipe.seed)
    model = untrained(recipe)
    if isinstance(model, SRCNN | FSRCNN | ESPCN):
        model.warm()
    if recipe.start is not None:
        own = model.state_dict()
        given = _weights(out, recipe.start)
        if isinstance(model, MxCy) and not recipe.expanded:
            given = model.deepened(given)
        fitting = {name: tensor for name, tensor in given.items() if name in own and tensor.shape == own[name].shape}
        model.load_state_dict(fitting, strict=False)
    if isinstance(model, SRMD):
        hold(model, recipe.seed)
    return model


def load_trained(recipe: Recipe, out: Path) -> nn.Module:
    """The network `train` left in `out`, as it is trained."""
    model = untrained(recipe)
    model.load_state_dict(_weights(out, recipe.name))
    return model


def untrained(recipe: Recipe) -> nn.Module:
    """The network of `recipe` in the form in which it is trained."""
    model = build(recipe.network, recipe.scale)
    if isinstance(model, MxCy):
        model = model.expanded()
        return model if recipe.expanded else model.collapsed()
    return model


def _learner(recipe: Recipe, model: nn.Module, out: Path, vgg: Path | None) -> Learner:
    context = cast(int, model.context)
    if any(stage.adversarial for stage in recipe.stages):
        from vsr.training.adversarial import VGG, Adversary

        features = VGG.read(vgg) if vgg else None
        return Adversary(model, Discriminator(), recipe.stages, recipe.seed, context, features)
    if vgg:
        raise UsageError(f"{recipe.name} has no use for VGG's weights; recipes with an adversary do: srgan_x4")
    teacher = Teacher.of(load_trained(find(recipe.teacher), out)) if recipe.teacher else None
    context = max(context, teacher.context if teacher else 0)
    return Learner(model, recipe.stages, recipe.seed, context, recipe.optimiser, teacher)


def _source(recipe: Recipe, data: Path, out: Path, learner: Learner, clips: Path | None) -> Source:
    """What the stages draw their batches from."""
    model, context = learner.model, learner.context
    if recipe.scales:
        return Mixed(tuple(_pictures(replace(recipe, scale=scale), data, out, context) for scale in recipe.scales))
    dataset = _pictures(recipe, data, out, context, clips)
    return Blurred(dataset, model.components, model.noise) if isinstance(model, SRMD) else dataset


def _pictures(recipe: Recipe, data: Path, out: Path, context: int, clips: Path | None = None) -> Dataset:
    scale = recipe.scale
    if recipe.degradation == "stream":
        streamed = partial(_streamed, data, clips, recipe.seed)
        return kept(streamed, out / f"stream_x{scale}.npz", scale=scale, context=context)
    return load(data, out / f"x{scale}.npz", scale=scale, context=context)


def _streamed(data: Path, clips: Path | None, seed: int, scale: int) -> Iterator[Sample]:
    """Needs PyAV, which a machine that only trains needn't have."""
    from vsr.training.degrade import Streamed

    return Streamed(data, clips, seed=seed).samples(scale)


def _file(out: Path, name: str) -> Path:
    return out / f"{name}.safetensors"


def _contiguous(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


def _weights(out: Path, name: str) -> dict[str, Tensor]:
    path = _file(out, name)
    if not path.exists():
        raise InputError(f"{path} is missing; train the recipe {name} into {out} first")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: not weights that vsr-train wrote; train the recipe {name} anew") from error
