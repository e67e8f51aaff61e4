"""Losses and ways of training beside the plain one, at toy size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from vsr.errors import UsageError  # noqa: E402
from vsr.metrics import imresize, to_uint8  # noqa: E402
from vsr.networks import NETWORKS  # noqa: E402
from vsr.networks.cubic import Cubic  # noqa: E402
from vsr.networks.mxcy import MxCy  # noqa: E402
from vsr.networks.srresnet import PATCH  # noqa: E402
from vsr.networks.table import CUBIC_RADIUS  # noqa: E402
from vsr.training.data import Dataset, load  # noqa: E402
from vsr.training.distil import Teacher, inner  # noqa: E402
from vsr.training.evaluate import upscaler  # noqa: E402
from vsr.training.learn import as_input, fit  # noqa: E402
from vsr.training.losses import distance  # noqa: E402
from vsr.training.mixed import Mixed  # noqa: E402
from vsr.training.pictures import pictures, read_luma  # noqa: E402
from vsr.training.quantise import as_float  # noqa: E402
from vsr.training.recipe import Stage, find, known  # noqa: E402
from vsr.training.train import start, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def dataset(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(photographs, tmp_path_factory.mktemp("cache") / "x2.npz", scale=2, context=6)


@pytest.mark.parametrize(
    ("loss", "spectrum", "expected"),
    [
        ("l1", 0, (0.3 + 0.1) / 4),
        ("l2", 0, (0.3**2 + 0.1**2) / 4),
        ("charbonnier", 0, ((0.3**2 + 1e-6) ** 0.5 + (0.1**2 + 1e-6) ** 0.5 + 2e-3) / 4),
        ("l1", 0.5, (0.3 + 0.1) / 4 + 0.5 * (0.2 + 0.1 + 0.2 + 0.1) / 4),
    ],
)
def test_losses_are_their_formulas(loss: Any, spectrum: float, expected: float) -> None:
    """Against what a pencil gives: the 2x2 transform has amplitudes |a+-b+-c+-d| / 2."""
    reference = torch.zeros(1, 1, 2, 2)
    result = torch.tensor([[[[0.3, 0.0], [0.0, -0.1]]]])
    stage = Stage(steps=1, rate=1.0, loss=loss, spectrum=spectrum)
    assert float(distance(result, reference, stage)) == pytest.approx(expected, abs=1e-7)


@pytest.fixture(scope="session")
def mixed(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    folder = tmp_path_factory.mktemp("mixed")
    return Mixed(tuple(load(photographs, folder / f"x{s}.npz", scale=s, context=CUBIC_RADIUS) for s in (2, 3, 4)))


def test_batches_of_several_scales_lie_on_each_other(mixed: Mixed) -> None:
    drawn = [mixed.batch(step, seed=1, size=2, patch=24) for step in range(30)]
    assert {(low.shape[-1], high.shape[-1], scale) for low, high, scale in drawn} == {
        (24 + 4, 48, 2),
        (16 + 4, 48, 3),
        (12 + 4, 48, 4),
    }
    for low, high, scale in drawn:
        reduced = imresize(high[0, 0].numpy(), 1 / scale)[2:-2, 2:-2]
        np.testing.assert_array_equal(to_uint8(reduced), low[0, 0, 4:-4, 4:-4].numpy())
        enlarged = Cubic(scale)(as_input(low))
        assert float((enlarged - as_input(high)).abs().mean()) < 0.05


def test_one_network_learns_all_scales_and_exports_at_each(photographs: Path, tmp_path: Path) -> None:
    recipe = find("vdsr_x2")
    stage = Stage(steps=3, rate=1e-4, batch=2, patch=24, clip=1e-4)
    shared = train(replace(recipe, stages=(stage,)), photographs, tmp_path, log=lambda line: None)
    assert recipe.scales == (2, 3, 4)
    plane = read_luma(pictures(photographs)[0])[:20, :30]
    for scale in (3, 4):
        own = train(find(f"vdsr_x{scale}"), photographs, tmp_path)
        for name, weights in shared.state_dict().items():
            torch.testing.assert_close(own.state_dict()[name], weights, rtol=0, atol=0)
        assert upscaler(as_float(own, "vdsr"))(plane).shape == (20 * scale, 30 * scale)


def flat(model: Any) -> Any:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_gradients_are_cut_by_the_rate(dataset: Dataset, tmp_path: Path) -> None:
    """With a clip of almost nothing the gradients drown in Adam's epsilon, and the weights stay where they are."""

    def moved(clip: float) -> float:
        torch.manual_seed(1)
        model = MxCy(4, 8, 1, 2)
        before = flat(model)
        stages = (Stage(steps=2, rate=1e-3, batch=2, patch=12, clip=clip),)
        fit(model, dataset, stages, seed=1, average=0.5, checkpoint=tmp_path / "c", log=lambda line: None)
        return float((flat(model) - before).abs().max())

    assert moved(0) == pytest.approx(moved(1e3), rel=1e-6)  # of a gradient that is within
    assert moved(1e-16) < 0.01 * moved(0)


def test_constants_stay_what_they_are(dataset: Dataset, tmp_path: Path) -> None:
    model = MxCy(4, 8, 1, 2).expanded()
    constants = {name: value.clone() for name, value in model.named_buffers()}
    stages = (Stage(steps=12, rate=1e-3, batch=1, patch=12),)
    fit(model, dataset, stages, seed=1, average=0.999, checkpoint=tmp_path / "c", log=lambda line: None)
    assert constants
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, constants[name], rtol=0, atol=0)


def test_devices_that_are_none_are_said(dataset: Dataset, tmp_path: Path) -> None:
    stages = (Stage(steps=1, rate=1e-3),)
    with pytest.raises(UsageError, match="0 devices"):
        fit(MxCy(4, 8, 1, 2), dataset, stages, seed=1, average=0.9, checkpoint=tmp_path / "c", devices=0)


def test_what_is_added_to_stays_exact_in_bfloat16() -> None:
    x = torch.rand(1, 1, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(Cubic(2)(x), Cubic(2).double()(x.double()).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", known())
def test_what_a_recipe_names_fits_it(name: str) -> None:
    recipe = find(name)
    assert not recipe.scales or (recipe.scales[0] == recipe.scale and NETWORKS[recipe.network].family == "vdsr")
    assert bool(recipe.teacher) == any(stage.taught for stage in recipe.stages)
    adversarial = [stage for stage in recipe.stages if stage.adversarial]
    assert all(stage.patch * recipe.scale == PATCH and not (stage.clip or stage.taught) for stage in adversarial)
    assert not adversarial or recipe.optimiser == "adam"
    assert recipe.teacher is None or find(recipe.teacher).scale == recipe.scale


def test_a_teacher_of_another_context_is_followed(photographs: Path, tmp_path: Path) -> None:
    """Where nothing but the teacher counts, and that makes all darker, so does the student."""
    teacher = start(find("fsrcnn_x2"), tmp_path)
    teacher.deconvolution.bias.data -= 0.1  # type: ignore[union-attr, operator]
    save_file(teacher.state_dict(), tmp_path / "fsrcnn_x2.safetensors")
    stages = (Stage(steps=40, rate=1e-2, batch=4, patch=16, taught=1e3, bfloat16=False),)
    plain = replace(find("m4c8_x2"), start=None, optimiser="adam", expanded=True)
    recipe = replace(plain, teacher="fsrcnn_x2", stages=stages, average=0.5)
    data = load(photographs, tmp_path / "x2.npz", scale=2, context=8)
    low = as_input(data.batch(1, seed=9, size=8, patch=24)[0])
    judge = Teacher.of(teacher)

    def distance_of(model: Any) -> float:
        with torch.no_grad():
            return float(judge.distance(model(inner(low, 8 - model.context)), low, 8))

    before = distance_of(start(recipe, tmp_path))
    student = train(recipe, photographs, tmp_path, log=lambda line: None)
    assert (student.context, judge.context) == (6, 8)
    assert distance_of(student) < 0.3 * before
    assert not [name for name in student.state_dict() if "teacher" in name]
