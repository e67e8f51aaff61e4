"""Pictures to patches to weights to ONNX, in float32 and int8, at toy size; and the models that ship."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import cv2  # noqa: E402
import onnx  # noqa: E402
import openvino  # noqa: E402

from clips import Clip  # noqa: E402
from vsr.cli import eval as eval_command  # noqa: E402
from vsr.cli import run as run_command  # noqa: E402
from vsr.cli import train as train_command  # noqa: E402
from vsr.contract import inspect  # noqa: E402
from vsr.errors import InputError, UsageError, VerificationError  # noqa: E402
from vsr.metrics import imresize, to_uint8  # noqa: E402
from vsr.models import models_folder, processor_flags  # noqa: E402
from vsr.networks import NETWORKS  # noqa: E402
from vsr.networks.mxcy import MxCy  # noqa: E402
from vsr.networks.sparse import SparseCoding  # noqa: E402
from vsr.networks.srresnet import PATCH, Discriminator  # noqa: E402
from vsr.settings import RunSettings  # noqa: E402
from vsr.training.data import Dataset, load  # noqa: E402
from vsr.training.evaluate import PictureSet, score, upscaler  # noqa: E402
from vsr.training.export import int8_model  # noqa: E402
from vsr.training.learn import as_input, fit, rate_at, validate  # noqa: E402
from vsr.training.pictures import holdout_places, pictures, read_luma, sources  # noqa: E402
from vsr.training.quantise import QuantisedMxCy, as_float, as_int8, int8_kernels  # noqa: E402
from vsr.training.recipe import Optimiser, Stage, find, known  # noqa: E402
from vsr.training.release import MOST_LOSS, Releaser  # noqa: E402
from vsr.training.soap import Soap  # noqa: E402
from vsr.training.sparse import learn  # noqa: E402
from vsr.training.train import calibrated, load_trained, train  # noqa: E402
from vsr.training.zero_shot import prepared  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = sorted(models_folder().glob("*.onnx"))
SHORT = (
    Stage(steps=4, rate=2e-3, batch=2, patch=12),
    Stage(steps=2, rate=1e-4, loss="l2", batch=2, patch=16),
)


@pytest.fixture(scope="session")
def dataset(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(photographs, tmp_path_factory.mktemp("cache") / "x2.npz", scale=2, context=6)


def lively(channels: int = 8, scale: int = 2, block: int = 1) -> MxCy:
    """An untrained network whose output differs visibly from its input."""
    torch.manual_seed(3)
    return MxCy(4, channels, block, scale)


def biased(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random codes, a third of them 0 and a third 255."""
    return np.choose(rng.integers(0, 3, shape), [0, 255, rng.integers(0, 256, shape)]).astype(np.uint8)


def test_luma_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    colour = np.dstack([np.full((8, 8), value, np.uint8) for value in (200, 200, 200)])
    for name in ("rgb", "some_luma"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), colour)
    assert {int(read_luma(path)[0, 0]) for path in pictures(tmp_path)} == {200, round(16 + 219 * 200 / 255)}
    assert [entry["name"] for entry in sources(tmp_path)] == ["rgb", "some_luma"]


def test_pictures_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        pictures(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png"):
        read_luma(tmp_path / "a.png")


@pytest.mark.parametrize(("count", "places"), [(2, [1]), (20, [19]), (30, [25]), (80, [25, 75])])
def test_some_pictures_are_always_held_out(count: int, places: list[int]) -> None:
    assert list(holdout_places(count)) == places


def test_two_pictures_are_enough_and_one_is_not(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    first, second = pictures(photographs)[:2]
    (folder / first.name).write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="one picture only"):
        load(folder, tmp_path / "one.npz", scale=2, context=6)
    (folder / second.name).write_bytes(second.read_bytes())
    few = load(folder, tmp_path / "two.npz", scale=2, context=6)
    assert (len(few.low.starts), len(few.holdout)) == (1, 1)


def test_low_and_high_patches_lie_on_each_other(dataset: Dataset) -> None:
    low, high = dataset.batch(5, seed=1, size=32, patch=20)
    assert low.shape == (32, 1, 32, 32)
    assert high.shape == (32, 1, 40, 40)
    for reduced, reference in zip(low[:, 0].numpy(), high[:, 0].numpy(), strict=True):
        inner = to_uint8(imresize(reference, 0.5))[2:-2, 2:-2]  # what the cut edge can't reach
        np.testing.assert_array_equal(inner, reduced[8:-8, 8:-8])
    assert len({patch.numpy().tobytes() for patch in low}) > 30


def test_context_is_real_inside_and_repeated_outside(dataset: Dataset, photographs: Path) -> None:
    plane = read_luma(pictures(photographs)[0])[:160, :172]
    low = dataset.low
    first = low.samples[: low.heights[0] * low.widths[0]].reshape(low.heights[0], low.widths[0])
    np.testing.assert_array_equal(first, np.pad(to_uint8(imresize(plane, 0.5)), 6, "edge"))
    assert (len(low.starts), len(dataset.holdout)) == (29, 1)


def test_pictures_smaller_than_a_patch_are_an_error(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="200"):
        dataset.batch(0, seed=1, size=1, patch=200)


def test_batches_depend_on_seed_and_step_alone(dataset: Dataset) -> None:
    first = dataset.batch(9, seed=1, size=4, patch=16)
    dataset.batch(10, seed=1, size=4, patch=16)
    np.testing.assert_array_equal(first[0], dataset.batch(9, seed=1, size=4, patch=16)[0])
    assert not np.array_equal(first[0], dataset.batch(10, seed=1, size=4, patch=16)[0])
    assert not np.array_equal(first[0], dataset.batch(9, seed=2, size=4, patch=16)[0])


def test_the_rate_warms_up_and_falls_in_every_stage() -> None:
    stages = (Stage(steps=100, rate=1.0, warmup=10), Stage(steps=50, rate=0.1))
    rates = [rate_at(stages, step) for step in range(150)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == pytest.approx(1)
    assert rates[99] < 0.001
    assert rates[100] == pytest.approx(0.1)
    assert rates[149] < 0.001


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_a_resumed_run_equals_an_unbroken_one(dataset: Dataset, tmp_path: Path, optimiser: Optimiser) -> None:
    def run(checkpoint: str, *, resume: bool = False, stop: int = 0) -> MxCy:
        def log(line: str) -> None:
            if line.startswith(f"step {stop} of"):
                raise InterruptedError

        torch.manual_seed(1)
        model = MxCy(4, 8, 1, 2).expanded()
        path = tmp_path / checkpoint
        return fit(
            model,
            dataset,
            SHORT,
            seed=1,
            average=0.9,
            checkpoint=path,
            optimiser=optimiser,
            resume=resume,
            every=3,
            log=log,
        )

    unbroken = run("a.pt")
    with pytest.raises(InterruptedError):
        run("b.pt", stop=3)
    resumed = run("b.pt", resume=True)
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("name", known())
def test_every_recipe_is_of_a_network_and_starts_from_another(name: str) -> None:
    recipe = find(name)
    assert recipe.scale in NETWORKS[recipe.network].scales
    assert recipe.start is None or NETWORKS[find(recipe.start).network].family == NETWORKS[recipe.network].family


@pytest.mark.parametrize("network", ["srcnn-915", "fsrcnn-s", "espcn", "vdsr", "srresnet", "dbpn-s", "u2-m3c32"])
def test_every_family_trains_and_exports(network: str, photographs: Path, tmp_path: Path) -> None:
    recipe = find(f"{network}_x2")
    stage = Stage(steps=2, rate=1e-4, batch=2, patch=16, loss="charbonnier", spectrum=0.05)
    trained = train(replace(recipe, stages=(stage,)), photographs, tmp_path, log=lambda line: None)
    assert trained.state_dict().keys() == load_trained(recipe, tmp_path).state_dict().keys()
    plane = read_luma(pictures(photographs)[0])
    assert upscaler(as_float(trained, network))(plane).shape == (320, 346)


def test_zero_shot_learns_from_a_clip_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    clip, said = Clip(size=(96, 80), pts=range(30)).write(tmp_path / "in.mp4"), list[str]()
    settings = RunSettings.of(input=str(clip), output=str(tmp_path / "out.mp4"), network="zssr")
    first = prepared(settings, said.append, steps=4)
    assert inspect(first.engine.model).scale == 2
    assert said[0].startswith("zssr learns from")
    lines = len(said)
    assert prepared(settings, said.append) == first
    assert len(said) == lines
    with pytest.raises(UsageError, match="learns from one picture or clip"):
        prepared(RunSettings.of(input="-", output="out.mp4", network="zssr"), said.append)
    small = Clip(size=(32, 32), pts=range(4)).write(tmp_path / "small.mp4")
    with pytest.raises(InputError, match="too small"):
        prepared(RunSettings.of(input=str(small), output="out.mp4", network="zssr"), said.append)


def test_looking_before_running_is_with_the_network_that_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    clip = str(Clip(size=(96, 80), pts=range(30)).write(tmp_path / "in.mp4"))
    learnt = prepared(RunSettings.of(input=clip, output="", network="zssr"), lambda line: None, steps=4).engine.model
    assert run_command.main([clip, "--network", "zssr", "--dry-run"]) == 0
    assert Path(json.loads(capsys.readouterr().out)["job"]["network"]["path"]) == learnt
    assert run_command.main([clip, str(tmp_path / "a.png"), "--network", "zssr", "--preview", "0.2"]) == 0
    assert (tmp_path / "a.png").exists()


def test_sparse_coding_beats_interpolation(dataset: Dataset) -> None:
    torch.manual_seed(1)
    model = SparseCoding(2)
    assert model.context == dataset.context
    before = validate(model, dataset)  # its fine dictionary is empty yet
    assert validate(learn(model, dataset, seed=1, patches=2_000), dataset) > before + 0.1


def test_the_discriminator_judges_patches() -> None:
    assert Discriminator()(torch.rand(2, 1, PATCH, PATCH)).shape == (2, 1)


def test_soap_fits_what_axes_hide_from_adam() -> None:
    """Least squares of 16 outputs whose inputs' covariance spans four orders of magnitude in a turned basis."""
    torch.manual_seed(1)
    turn = torch.linalg.qr(torch.randn(3 * 9, 3 * 9))[0]
    data = torch.randn(512, 3 * 9) * torch.logspace(0, -2, 3 * 9) @ turn
    wanted = data @ torch.randn(3 * 9, 16)

    def error(optimiser: Optimiser) -> float:
        kernel = torch.nn.Parameter(torch.zeros(16, 3, 3, 3).contiguous(memory_format=torch.channels_last))
        steps = Soap([kernel], rate=0.05) if optimiser == "soap" else torch.optim.Adam([kernel], lr=0.05)
        for _ in range(200):
            steps.zero_grad()
            loss = (data @ kernel.flatten(1).T - wanted).square().mean()
            loss.backward()
            steps.step()
        return float(loss.detach())

    assert error("soap") < 0.2 * error("adam")


def test_training_beats_its_start(dataset: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = MxCy(4, 8, 1, 2).expanded()
    before = validate(model, dataset)
    stages = (Stage(steps=80, rate=2e-3, warmup=5, batch=4, patch=16),)
    trained = fit(model, dataset, stages, seed=1, average=0.9, checkpoint=tmp_path / "c.pt", log=lambda line: None)
    assert validate(trained, dataset) > before + 0.5


@pytest.mark.parametrize(("scale", "block"), [(2, 1), (4, 1), (3, 2)])
def test_signed_export_equals_unsigned_training_form(scale: int, block: int) -> None:
    rng = np.random.default_rng(scale)
    network = lively(channels=16, scale=scale, block=block)
    quantised = QuantisedMxCy(network)
    quantised.calibrate(as_input(torch.from_numpy(biased(rng, (4, 1, 40, 40)))))
    plane = biased(rng, (120, 130))
    padded = torch.from_numpy(np.pad(plane, network.context, "edge")[None, None])
    with torch.no_grad():
        expected = 255 * quantised(as_input(padded))[0, 0].numpy()
    result = upscaler(as_int8(quantised, "m4c16"))(plane)
    codes = np.abs(to_uint8(result).astype(int) - to_uint8(expected))
    assert codes.max() <= 1
    assert (codes > 0).mean() < 0.005
    float_result = upscaler(as_float(network, "m4c16"))(plane)
    assert 0 < np.abs(result - float_result).max() < 12  # quantised indeed, and not by much


@pytest.fixture
def releaser(photographs: Path, tmp_path: Path) -> Releaser:
    return Releaser(engines=tmp_path, data=photographs, test=PictureSet.held_out(photographs))


def test_an_int8_model_that_loses_too_much_is_refused(dataset: Dataset, releaser: Releaser) -> None:
    recipe, network = find("m4c8_x2"), lively()
    releaser.write_float(as_float(network, "m4c8"), recipe)
    quantised = calibrated(network, dataset, seed=1)
    good = as_int8(quantised, "m4c8")
    bad = int8_model(
        [replace(kernel, scales=kernel.scales * np.float32(1.2)) for kernel in int8_kernels(quantised)],
        network="m4c8",
        scale=2,
    )
    with pytest.raises(VerificationError, match=r"m4c8_x2: int8 loses .* dB"):
        releaser.write_int8(bad, recipe)
    assert [path.name for path in releaser.engines.glob("*.onnx")] == ["m4c8_x2.onnx"]
    releaser.write_int8(good, recipe)
    files = [entry["file"] for entry in json.loads((releaser.engines / "manifest.json").read_text())["models"]]
    assert files == ["m4c8_x2.onnx", "m4c8_x2_int8.onnx"]
    releaser.write_float(as_float(network, "m4c8"), recipe)
    assert not (releaser.engines / "m4c8_x2_int8.onnx").exists()  # it belonged to the float model before


def test_a_recipe_takes_another_batch(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = find("m4c8_x2").with_batch(128)
    assert {stage.batch for stage in (*recipe.stages, *recipe.quantisation)} == {128}
    options = ["m4c8_x2", "--data", str(photographs), "--out", str(tmp_path), "--batch", "0"]
    assert train_command.main(options) == UsageError.exit_code
    assert "--batch 0" in capsys.readouterr().err


def test_commands_train_and_evaluate(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(photographs), "--out", str(tmp_path)]
    assert train_command.main(["m4c8_x2", *options, "--steps", "3", "--weights-only"]) == 0
    assert not list(tmp_path.glob("*.onnx"))
    written = (tmp_path / "m4c8_x2_int8.safetensors").stat()
    assert train_command.main(["m4c8_x2", *options, "--resume"]) == 0  # would take hours if it trained
    assert (tmp_path / "m4c8_x2_int8.safetensors").stat() == written
    assert "m4c8_x2_int8.onnx" in capsys.readouterr().out
    assert eval_command.main([str(photographs), "--scales", "2", "--engines", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["model", "bicubic", "m4c8_x2", "m4c8_x2_int8"]
    assert (
        eval_command.main([str(photographs), "--networks", "vdsr", "--engines", str(tmp_path)]) == UsageError.exit_code
    )
    assert "vdsr" in capsys.readouterr().err
    elsewhere = ["--data", str(photographs), "--out", str(tmp_path / "empty")]
    assert train_command.main(["m4c8_x3", *elsewhere]) == InputError.exit_code
    assert "m4c8_x2" in capsys.readouterr().err  # which it starts from


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
class TestShipped:
    """Every model in engines/."""

    def test_contract(self, path: Path) -> None:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        scale, int8 = int(properties["vsr.scale"]), path.stem.endswith("_int8")
        assert properties["vsr.precision"] == ("int8" if int8 else "float32")
        assert properties["vsr.peak"] == ("255" if int8 else "1")
        assert path.stem.replace("-stream", "").startswith(f"{properties['vsr.network']}_x{scale}")
        (entry,), (result,) = model.graph.input, model.graph.output
        assert [entry.name, result.name] == ["luma", "upscaled"]
        assert [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim] == [1, 1, "height", "width"]
        assert model.ir_version <= 10
        assert [17 <= opset.version <= 21 for opset in model.opset_import] == [True]
        ends = [node.op_type for node in (model.graph.node[0], model.graph.node[-1])]
        if path.stem.startswith("u2-"):  # up to whole blocks, and cut again
            assert ends == ["Shape", "Slice"]
        elif NETWORKS[properties["vsr.network"]].family in ("mxcy", "cubic"):
            assert ends == ["Pad", "DepthToSpace"]
        else:
            assert ends[0] == "Pad"

    def test_manifest(self, path: Path) -> None:
        (entry,) = (e for e in manifest() if e["file"] == path.name)
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert bool(entry["data"]) != (NETWORKS[entry["network"]].family == "cubic")
        assert entry["licence"]

    def test_score(self, path: Path, data: Path) -> None:
        (entry,) = (e for e in manifest() if e["file"] == path.name)
        planes = PictureSet.read(data / "test" / "Set5").planes
        result = score(upscaler(onnx.load(path)), planes, scale=entry["scale"])
        assert result.psnr == pytest.approx(entry["test"]["psnr"], abs=0.01)
        assert result.ssim == pytest.approx(entry["test"]["ssim"], abs=0.0005)

    def test_int8_runs_in_int8_and_costs_little(self, path: Path) -> None:
        if not path.stem.endswith("_int8"):
            pytest.skip("a float32 model")
        scores = {entry["file"]: entry["test"]["psnr"] for entry in manifest()}
        assert scores[path.name.replace("_int8", "")] - scores[path.name] <= MOST_LOSS
        if not {"avx512_vnni", "avx_vnni"} & processor_flags():
            pytest.skip("this processor has no fast int8")
        model = openvino.Core().read_model(path)
        model.reshape([1, 1, 64, 96])
        compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        operations = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
        kinds = [str(o["primitiveType"].value) for o in operations if o["layerType"].value == "Convolution"]
        assert len(kinds) == sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)
        assert all(kind.endswith("I8") for kind in kinds), kinds


def manifest() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((models_folder() / "manifest.json").read_text())["models"]
    return entries


def test_the_manifest_lists_what_ships() -> None:
    assert [entry["file"] for entry in manifest()] == [path.name for path in SHIPPED]


def test_the_model_cards_give_the_manifests_scores() -> None:
    cards = (models_folder() / "README.md").read_text()
    for entry in manifest():
        (row,) = (line for line in cards.splitlines() if line.startswith(f"| `{entry['recipe']}` |") and "/" in line)
        assert f"{entry['test']['psnr']:.3f} / {entry['test']['ssim']:.4f}" in row
