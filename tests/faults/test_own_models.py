"""A user's model file: nothing it says may read another file, run foreign code, or take all the memory there is."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from onnx import ModelProto, TensorProto, helper

from strong import luma_model
from vsr.contract import MAX_NODES, inspect
from vsr.errors import InputError


def model() -> ModelProto:
    return luma_model(2, zero=True, channels=2, body=0).proto


def outside(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    tensor.ClearField("raw_data")


def in_an_initialiser(proto: ModelProto) -> None:
    outside(proto.graph.initializer[0])


def in_an_attribute(proto: ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]))
    outside(constant.attribute[0].t)
    proto.graph.node.insert(0, constant)


def half_said(proto: ModelProto) -> None:
    proto.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def custom(proto: ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Anything", [], ["x"], domain="com.example"))


def blob(proto: ModelProto) -> None:
    node = helper.make_node("EPContext", [], ["x"], domain="com.microsoft", ep_cache_context=b"\x7fELF")
    proto.graph.node.append(node)


def loop(proto: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    proto.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))


def functions(proto: ModelProto) -> None:
    proto.functions.add(name="f", domain="local")


def many(proto: ModelProto) -> None:
    proto.graph.node.extend(helper.make_node("Relu", ["x"], [f"y{n}"]) for n in range(MAX_NODES))


def huge(proto: ModelProto) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [1, 1, 1 << 20, 1 << 20])
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["shape"], value=shape))
    proto.graph.node.insert(1, helper.make_node("ConstantOfShape", ["shape"], ["huge"]))


def refused(tmp_path: Path, change: Callable[[ModelProto], None], reason: str) -> None:
    proto = model()
    change(proto)
    path = tmp_path / "own.onnx"
    path.write_bytes(proto.SerializeToString())
    begin = time.monotonic()
    with pytest.raises(InputError, match=reason) as caught:
        inspect(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("change", [in_an_initialiser, in_an_attribute, half_said])
def test_data_outside_the_file_is_refused(tmp_path: Path, change: Callable[[ModelProto], None]) -> None:
    refused(tmp_path, change, "weights must be inside the file")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (custom, "not com.example"),
        (blob, "not com.microsoft"),
        (functions, "not functions"),
        (loop, "control flow"),
        (many, "nodes, 10000 at most"),
    ],
)
def test_operators_from_elsewhere_are_refused(
    tmp_path: Path, change: Callable[[ModelProto], None], reason: str
) -> None:
    refused(tmp_path, change, reason)


def test_growth_is_bounded(tmp_path: Path) -> None:
    refused(tmp_path, huge, "huge is 1x1x1048576x1048576 for 44x37 luma, too large")


class Opened:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (Path("opened"),)


def test_a_pickle_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("weights.pth", "weights.pt2", "model.onnx"):
        Path(name).write_bytes(pickle.dumps({"state_dict": Opened()}))
        with pytest.raises(InputError, match="not a"):
            inspect(Path(name))
    assert not Path("opened").exists()


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from vsr.training.learn import fit
    from vsr.training.recipe import Stage, find
    from vsr.training.train import load_trained

    monkeypatch.chdir(tmp_path)
    recipe = find("m4c8_x2")
    Path(f"{recipe.name}.safetensors").write_bytes(pickle.dumps({"weight": Opened()}))
    with pytest.raises(InputError, match="not weights that vsr-train wrote"):
        load_trained(recipe, Path())
    torch.save({"state_dict": Opened()}, f"{recipe.name}.ckpt")
    stages, model = (Stage(steps=1, rate=1e-3),), torch.nn.Linear(1, 1)
    dataset = SimpleNamespace(context=0, holdout=())
    with pytest.raises(InputError, match=r"m4c8_x2\.ckpt: not a checkpoint that vsr-train wrote"):
        fit(model, dataset, stages, seed=1, average=0.9, checkpoint=Path(recipe.name), resume=True)  # type: ignore[arg-type]
    assert not Path("opened").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_model_cut_short_is_one_line(tmp_path: Path, share: float) -> None:
    data = model().SerializeToString()
    path = tmp_path / "own.onnx"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError) as caught:
        inspect(path)
    assert "\n" not in str(caught.value)
