"""SRMD's degradations against the slow way, and that the network learns from what it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import cv2  # noqa: E402

from vsr.metrics import imresize, to_uint8  # noqa: E402
from vsr.networks.srmd import SRMD  # noqa: E402
from vsr.training.blur import NOISE, Blurred, gaussians, hold, kernels, reduced  # noqa: E402
from vsr.training.data import Dataset, load  # noqa: E402
from vsr.training.evaluate import upscaler  # noqa: E402
from vsr.training.learn import as_input  # noqa: E402
from vsr.training.pictures import pictures, read_luma  # noqa: E402
from vsr.training.quantise import as_float  # noqa: E402
from vsr.training.recipe import Stage, find  # noqa: E402
from vsr.training.train import load_trained, start, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session", params=[2, 3, 4])
def dataset(request: pytest.FixtureRequest, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(photographs, tmp_path_factory.mktemp("cache") / "x.npz", scale=request.param, context=0)


def held(scale: int, *, noise: bool = True) -> SRMD:
    model = SRMD(3, scale, noise=noise)
    hold(model, 1)
    return model


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reducing_is_matlabs(scale: int) -> None:
    plane = np.random.default_rng(1).integers(0, 256, (20 * scale, 18 * scale))
    result = reduced(torch.from_numpy(plane)[None, None].double(), scale)[0, 0].numpy()
    np.testing.assert_allclose(result[3:-3, 3:-3], imresize(plane, 1 / scale)[3:-3, 3:-3], atol=1e-9)


def test_kernels_are_turned_and_of_sum_1() -> None:
    (kernel,) = gaussians(np.array([[9.0], [1.0]]), np.array([np.pi / 4]))
    assert kernel.sum() == pytest.approx(1)
    assert kernel[7 + 2, 7 + 2] == pytest.approx(kernel[7, 7] * np.exp(-8 / 9 / 2))  # along
    assert kernel[7 + 2, 7 - 2] == pytest.approx(kernel[7, 7] * np.exp(-8 / 2))  # across


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_fifteen_components_hold_nearly_all_of_a_kernel(scale: int) -> None:
    basis = held(scale).components.double().numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(15), atol=1e-6)
    fresh = kernels(np.random.default_rng(99), 500, scale).reshape(500, -1)
    missed = fresh - fresh @ basis.T @ basis
    assert (missed**2).sum() < 0.002 * (fresh**2).sum()  # the paper keeps 99.8%


def test_batches_are_what_their_measures_say(dataset: Dataset) -> None:
    model, scale = held(dataset.scale, noise=False), dataset.scale
    low, high, measures = Blurred(dataset, model.components, noisy=False).batch(3, seed=1, size=6, patch=24)
    assert (low.shape, high.shape, measures.shape) == ((6, 1, 24, 24), (6, 1, 24 * scale, 24 * scale), (6, 15))
    made = measures.numpy() @ model.components.numpy()
    for picture, reference, kernel in zip(low[:, 0].numpy(), high[:, 0].numpy(), made, strict=True):
        whole = cv2.filter2D(reference.astype(np.float64), -1, kernel.reshape(15, 15) / kernel.sum())
        inside = np.s_[6:-6, 6:-6]  # where what lies around the patch doesn't count
        codes = to_uint8(imresize(whole, 1 / scale))[inside].astype(int)
        assert np.abs(codes - picture[inside]).mean() < 1  # the components hold nearly all


def test_noise_is_as_strong_as_said(dataset: Dataset) -> None:
    components = held(dataset.scale).components
    plain, _, _ = Blurred(dataset, components, noisy=False).batch(3, seed=1, size=8, patch=30)
    low, _, measures = Blurred(dataset, components, noisy=True).batch(3, seed=1, size=8, patch=30)
    levels = 255 * measures[:, 15].numpy()
    assert levels.max() <= NOISE
    grain = low.numpy().astype(float) - plain.numpy()
    inside = (plain.numpy() > 100) & (plain.numpy() < 155)  # where nothing is clipped, nearly
    for one, mask, level in zip(grain, inside, levels, strict=True):
        if mask.sum() > 200 and level < 40:
            assert one[mask].std() == pytest.approx(level, rel=0.2)


def test_batches_depend_on_seed_and_step_alone(dataset: Dataset) -> None:
    source = Blurred(dataset, held(dataset.scale).components, noisy=True)
    first = source.batch(9, seed=1, size=2, patch=16)
    source.batch(10, seed=1, size=2, patch=16)
    for a, b, other in zip(
        first,
        source.batch(9, seed=1, size=2, patch=16),
        source.batch(10, seed=1, size=2, patch=16),
        strict=True,
    ):
        assert torch.equal(a, b)
        assert not torch.equal(a, other)


@pytest.mark.parametrize("network", ["srmd", "srmdnf"])
def test_a_recipe_trains_and_exports_what_it_assumes(network: str, photographs: Path, tmp_path: Path) -> None:
    recipe = replace(find(f"{network}_x2"), stages=(Stage(steps=2, rate=1e-4, batch=2, patch=16, bfloat16=False),))
    model = train(recipe, photographs, tmp_path, log=lambda line: None)
    assert isinstance(model, SRMD)
    assert torch.equal(model.assumed, held(2, noise=network == "srmd").assumed)
    assert load_trained(recipe, tmp_path).state_dict()["components"].abs().max() > 0
    plane = read_luma(pictures(photographs)[0])[:20, :30]
    low = as_input(torch.from_numpy(plane)[None, None])
    with torch.no_grad():
        expected, blurrier = model(low), model(low, 0.5 * model.assumed[None])
    result = upscaler(as_float(model, network))(plane)
    np.testing.assert_allclose(result, 255 * expected[0, 0], atol=0.01)
    assert float((blurrier - expected).abs().max()) > 1e-3
    follower = start(find(f"{network}_x3"), tmp_path)
    assert isinstance(follower, SRMD)
    assert torch.equal(follower.components, held(3).components)
    assert torch.equal(follower.inner[0].weight, model.inner[0].weight)
