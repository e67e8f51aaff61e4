"""vsr-plan, on made-up GPUs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clips import Clip
from fake_tensorrt import FACTS, FakeTensorRT
from vsr.backends.machine import Machine
from vsr.backends.tensorrt.inspection import Layer, kinds, layers
from vsr.backends.tensorrt.prepare import open_executor, plan_cache
from vsr.cli.plan import Bar, main
from vsr.device.fake import FakeDevice
from vsr.errors import UsageError
from vsr.models import Runner, resolve
from vsr.planning import found, inspect, make, plain_spec, spec_of
from vsr.plans import PlanCache, PlanError
from vsr.settings import EngineSettings, PlanSettings

# What the inspectors of TensorRT 10 and 11 write differs in the last lists.
TEN = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to conv0",
            "LayerType": "Reformat",
            "Outputs": [{"Name": "a", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
        },
        {"Name": "conv0", "LayerType": "CaskConvolution", "Outputs": []},
    ],
    "Bindings": ["y", "y_up"],
}
ELEVEN = {
    "Layers": [
        {"Name": "conv0", "LayerType": "kgen", "Outputs": [{"Name": "a", "Format": "Row major", "Datatype": "Half"}]},
        {"Name": "conv1", "LayerType": "kgen"},
    ],
    "I/O Tensors": [{"Name": "y"}],
}


def machine(obstacle: str = "") -> tuple[Machine, list[FakeDevice]]:
    devices: list[FakeDevice] = []

    def device(index: int) -> FakeDevice:
        devices.append(FakeDevice(index))
        return devices[-1]

    return Machine(hint=lambda: True, tensorrt=lambda: obstacle, torch=lambda index: "", device=device), devices


def opening(cache: PlanCache) -> Callable[..., Any]:
    return lambda choice, what, device, **options: open_executor(
        FakeTensorRT(device), choice, what, device, FACTS, cache, **options
    )


@pytest.mark.parametrize(("alpha", "parts"), [(False, 1), (True, 2)])
def test_a_plan_is_made_for_what_a_run_will_ask_for(tmp_path: Path, alpha: bool, parts: int) -> None:
    cache, said = PlanCache(tmp_path / "plans"), []  # type: ignore[var-annotated]
    here, devices = machine()
    what = plain_spec((64, 48), 10)
    what = replace(what, format=replace(what.format, alpha=alpha))
    engine = EngineSettings(backend="tensorrt", scale=3)
    make(engine, what, PlanSettings(), progress=lambda *_: None, said=said.append, machine=here, open=opening(cache))
    facts = [plan.facts for plan in cache.stored()]
    assert {fact["precision"] for fact in facts} == {"fp16"}
    assert len(facts) == parts
    assert said[0] == "m4c16 x3 for yuv420p10le 64x48: tensorrt 11.4 fp16, Fake GPU"
    assert all(device._closed for device in devices)


def test_one_plan_is_made_for_a_range_of_sizes(tmp_path: Path) -> None:
    """What a run on any size between finds, windows of vsr-live too; both layers of frames with opacity."""
    cache, here = PlanCache(tmp_path / "plans"), machine()[0]
    settings, what = PlanSettings(sizes=((64, 48), (96, 64), (128, 96))), plain_spec((96, 64), 8, "444")
    what = replace(what, format=replace(what.format, alpha=True))
    options: dict[str, Any] = {"progress": lambda *_: None, "machine": here, "open": opening(cache)}
    said: list[str] = []
    make(EngineSettings(), what, settings, said=said.append, **options)
    assert said[0] == "m4c16 x2 for yuv444p 96x64: tensorrt 11.4 fp16, 64x48-128x96, Fake GPU"
    assert {plan.facts["frames"] for plan in cache.stored()} == {"yuv444p 64x48-128x96", "gray 64x48-128x96"}
    trt = FakeTensorRT(FakeDevice())
    choice = resolve(EngineSettings(), 8, runner=Runner("tensorrt", 0))
    open_executor(trt, choice, plain_spec((127, 51), 8, "444"), trt.device, FACTS, cache)
    assert not trt.built


def test_what_is_in_the_way_is_said() -> None:
    here, _ = machine("TensorRT isn't installed")
    with pytest.raises(UsageError, match="no plans can be made here: TensorRT isn't installed"):
        make(
            EngineSettings(), plain_spec((64, 48), 8), PlanSettings(), progress=print, said=print, machine=here,
            open=print,
        )  # fmt: skip


@pytest.mark.parametrize("depth", [7, 16])
def test_a_depth_that_tensorrt_has_not_is_refused(depth: int) -> None:
    with pytest.raises(UsageError, match="8 to 15 bits"):
        plain_spec((64, 48), depth)


def told(text: str) -> tuple[Layer, ...]:
    """What is read from an inspector that says `text`."""
    inspector = SimpleNamespace(get_engine_information=lambda kind: text)
    engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
    return layers(FakeTensorRT(FakeDevice()), engine)


@pytest.mark.parametrize(
    ("described", "kind", "form"),
    [
        (TEN, {"Reformat": 1, "CaskConvolution": 1}, ("Channel major FP16 format where channel % 8 == 0",)),
        (ELEVEN, {"kgen": 2}, ("Half Row major",)),
        ({"Layers": ["conv0"]}, {"unknown": 1}, ()),
    ],
)
def test_both_inspectors_are_read(described: dict[str, Any], kind: dict[str, int], form: tuple[str, ...]) -> None:
    found = told(json.dumps(described))
    assert kinds(found) == kind
    assert found[0].outputs == form


@pytest.mark.parametrize("text", ["", "[]", '{"Layers": [1]}', '{"Layers": 3}'])
def test_an_inspector_that_says_something_else_is_an_error(text: str) -> None:
    with pytest.raises(PlanError, match="isn't known here"):
        told(text)


def filled(folder: Path) -> PlanCache:
    cache = PlanCache(folder / "plans")
    for size in (64, 66):
        device = FakeDevice()
        choice = resolve(EngineSettings(), 8)
        open_executor(FakeTensorRT(device), choice, plain_spec((size, 48), 8), device, FACTS, cache)
    return cache


def test_a_plan_is_inspected(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    plan = cache.stored()[0]
    trt = FakeTensorRT(FakeDevice(), layers=json.dumps(TEN))
    assert [layer.reformats for layer in inspect(found(cache, plan.digest[:10]), trt)] == [True, False]
    with pytest.raises(UsageError, match="no plans begin with 'xyz'"):
        found(cache, "xyz")
    with pytest.raises(UsageError, match="several plans begin with ''"):
        found(cache, "")


def test_a_video_decides_as_it_would_for_a_run(tmp_path: Path) -> None:
    clip = Clip(pts=range(2), size=(64, 48)).write(tmp_path / "clip.mkv")
    engine, what = spec_of(str(clip), EngineSettings(backend="tensorrt", precision="fp16", scale=3))
    assert str(what) == "yuv420p 64x48"
    assert engine.weights in ("clean", "stream")
    assert (engine.backend, engine.precision, engine.scale) == ("tensorrt", "fp16", 3)


def test_the_command_line_lists_and_cleans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    assert main(["list"]) == 0
    assert "no plans" in capsys.readouterr().out
    cache = filled(tmp_path)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(word in lines[1] for word in ("m4c16 x2", "yuv420p 66x48", "tensorrt 11.4.0.106", "Fake GPU", "today"))
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [plan["key"] for plan in listed["plans"]] == [plan.digest for plan in cache.stored()]
    ranged, device = PlanSettings(sizes=((64, 48), (96, 64), (128, 96))), FakeDevice()
    choice = resolve(EngineSettings(), 8)
    open_executor(FakeTensorRT(device), choice, plain_spec((96, 64), 8), device, FACTS, cache, settings=ranged)
    assert main(["list"]) == 0
    assert "yuv420p 64x48-128x96" in capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    newest = json.loads(capsys.readouterr().out)["plans"][0]
    assert newest["settings"]["sizes"] == [[64, 48], [96, 64], [128, 96]]
    (tmp_path / "checked").mkdir()
    (verdict := tmp_path / "checked" / "abc.json").write_text("{}")
    assert main(["clean", "--older-than", "1"]) == 0
    assert verdict.exists()
    assert capsys.readouterr().out == "0 plans deleted, 0.0M\n"
    assert main(["clean", "--all"]) == 0
    assert capsys.readouterr().out.startswith("3 plans deleted")
    assert not verdict.exists()
    assert cache.stored() == []


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_said_goes_to_standard_error(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(quiet=quiet) as bar:
        bar.update(0.5, "Building")
        bar.say("[done]")
    assert capsys.readouterr() == ("", "" if quiet else "[done]\n")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["build"], 2, "name a video, or give --size"),
        (["build", "a.mp4", "--size", "64x48"], 2, "name a video, or give --size"),
        (["build", "--size", "64x48", "--depth", "16"], 2, "8 to 15 bits"),
        (["build", "--size", "0x48"], 2, "size 0x48: sides are 1 at least"),
        (["build", "--sizes", "64x48", "32x24", "64x48"], 2, "the least, the usual and the largest"),
        (["build", "--size", "64x48", "--level", "9"], 2, "level be from 0 to 5"),
        (["clean"], 2, "say what: --all"),
        (["inspect", "abc"], 2, "no plans begin with 'abc'"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    error: str,
) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    assert main(words) == code
    said = capsys.readouterr().err
    assert error in said
    assert said.startswith("vsr-plan: ")
    assert said.count("\n") == 1


def test_a_run_goes_on_without_a_folder_it_cannot_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    said: list[str] = []
    assert plan_cache(said.append) is not None
    (tmp_path / "plans").chmod(0o777)
    assert plan_cache(said.append) is None
    assert "plans aren't kept" in said[0]
    monkeypatch.setenv("VSR_CACHE", "/dev/null/none")
    assert plan_cache(said.append) is None
    assert "no cache folder" in said[1]


def test_a_folder_that_others_can_write_to_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans").chmod(0o777)
    assert main(["list"]) == 4
    assert "written by others" in capsys.readouterr().err
