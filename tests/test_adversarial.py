"""SRGAN's training at toy size: who learns what, resuming, and VGG's weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from vsr.cli import train as train_command  # noqa: E402
from vsr.errors import InputError, UsageError  # noqa: E402
from vsr.networks.srresnet import Discriminator, SRResNet  # noqa: E402
from vsr.training.adversarial import VGG, Adversary  # noqa: E402
from vsr.training.data import Dataset, load  # noqa: E402
from vsr.training.learn import run  # noqa: E402
from vsr.training.recipe import Stage, find  # noqa: E402
from vsr.training.train import load_trained, start  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

STAGE = Stage(steps=4, rate=1e-3, adversarial=1e-3, matching=0.05, batch=2, patch=48, bfloat16=False)
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)  # of torchvision's vgg19().features


@pytest.fixture(scope="session")
def dataset(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(photographs, tmp_path_factory.mktemp("cache") / "x2.npz", scale=2, context=0)


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of torchvision's names and shapes."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    weights = {f"features.{name}": 0.05 * torch.randn_like(value) for name, value in VGG().state_dict().items()}
    torch.save(weights | {"classifier.0.weight": torch.zeros(3)}, path)
    return path


def trained(dataset: Dataset, checkpoint: Path, stage: Stage = STAGE, **options: Any) -> Adversary:
    torch.manual_seed(1)
    learner = Adversary(SRResNet(1, 2), Discriminator(2), (stage,), 1, 0, options.pop("vgg", None))
    run(learner, dataset, average=0.5, checkpoint=checkpoint, **{"every": 2, "log": lambda line: None} | options)
    return learner


def test_a_resumed_run_equals_an_unbroken_one(dataset: Dataset, tmp_path: Path) -> None:
    def stopped(line: str) -> None:
        if line.startswith("step 2 of 4"):
            raise InterruptedError

    unbroken = trained(dataset, tmp_path / "a")
    with pytest.raises(InterruptedError):
        trained(dataset, tmp_path / "b", log=stopped)
    resumed = trained(dataset, tmp_path / "b", resume=True)
    for name, weights in unbroken.state_dict().items():  # the discriminator's too
        torch.testing.assert_close(resumed.state_dict()[name], weights, rtol=0, atol=0)


def test_the_generators_steps_count(dataset: Dataset, tmp_path: Path) -> None:
    learner = trained(dataset, tmp_path / "a")
    assert [line.split(",")[0] for line in (tmp_path / "a.csv").read_text().splitlines()] == ["step", "2", "4"]
    assert all(parameter.requires_grad for parameter in learner.discriminator.parameters())


@pytest.mark.parametrize("weight", ["adversarial", "matching"])
def test_every_loss_moves_the_generator(dataset: Dataset, tmp_path: Path, weight: str) -> None:
    plain, other = (
        trained(
            dataset, tmp_path / f"{value}", Stage(steps=2, rate=1e-3, batch=2, **{"adversarial": 1e-9, weight: value})
        )
        for value in (1e-9, 10.0)
    )
    pairs = zip(plain.model.parameters(), other.model.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) > 1e-4


def test_the_discriminator_learns_to_tell(dataset: Dataset, tmp_path: Path) -> None:
    learner = trained(dataset, tmp_path / "a", Stage(steps=12, rate=1e-2, adversarial=1e-9, batch=4), every=12)
    low, high = dataset.batch(99, seed=2, size=16, patch=48)
    real, fake = high.float() / 255, learner.model.eval()(low.float() / 255).detach()
    judge = learner.discriminator.requires_grad_(False)
    assert float((judge(real) - judge(fake)).mean()) > 0.2


def test_vgg_is_torchvisions(vgg: Path, tmp_path: Path) -> None:
    weights = torch.load(vgg)
    assert weights.keys() - {"classifier.0.weight"} == {
        f"features.{index}.{kind}" for index in CONVOLUTIONS for kind in ("weight", "bias")
    }
    save_file(weights, tmp_path / "vgg19.safetensors")
    model = VGG.read(vgg)
    x = torch.rand(1, 1, 32, 48)
    assert model(x).shape == (1, 512, 2, 3)
    torch.testing.assert_close(VGG.read(tmp_path / "vgg19.safetensors")(x), model(x))
    white = torch.full((1, 1, 32, 32), 235 / 255)
    normalised = ((1 - model.mean) / model.deviation).expand(1, 3, 32, 32)
    torch.testing.assert_close(model(white), torch.nn.Sequential(*model)(normalised))


def test_vgg_decides_what_is_learnt(dataset: Dataset, vgg: Path, tmp_path: Path) -> None:
    stage = Stage(steps=1, rate=1e-3, adversarial=1e-9, batch=1)
    with_it = trained(dataset, tmp_path / "a", stage, vgg=VGG.read(vgg), every=1)
    without = trained(dataset, tmp_path / "b", stage, every=1)
    pairs = zip(with_it.model.parameters(), without.model.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) > 1e-5
    assert not [name for name in with_it.state_dict() if "vgg" in name]


def test_what_is_no_vgg_is_said_in_a_line(vgg: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("missing.pth", "text.pth", "text.safetensors", "other.pth"):
        with pytest.raises(InputError, match=f"{name}: no weights of VGG19"):
            VGG.read(tmp_path / name)


@pytest.mark.slow
def test_the_recipe_starts_from_the_plain_one(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(photographs), "--out", str(tmp_path), "--steps", "1", "--weights-only"]
    assert train_command.main(["srgan_x2", *options]) == InputError.exit_code
    assert "srresnet_x2" in capsys.readouterr().err
    recipe = find("srgan_x2")
    save_file(start(find("srresnet_x2"), tmp_path).state_dict(), tmp_path / "srresnet_x2.safetensors")
    assert train_command.main(["srgan_x2", *options]) == 0
    assert load_trained(recipe, tmp_path).state_dict().keys() == start(recipe, tmp_path).state_dict().keys()
    assert train_command.main(["m4c8_x2", *options, "--vgg", "vgg.pth"]) == UsageError.exit_code
