"""Which weights a video gets: by codec and bits per pixel, decided once and the same from probe to report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clips import Clip
from vsr.errors import UsageError
from vsr.job import Network
from vsr.models import models_folder, resolve
from vsr.settings import EngineSettings, Weights
from vsr.weights import STREAM_BELOW, suited

REPOSITORY = Path(__file__).resolve().parent.parent
H264 = STREAM_BELOW["h264"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of which one network at one scale has weights for streams."""
    folder = tmp_path_factory.mktemp("engines")
    for name in ("m4c16_x2", "m4c16_x2_int8", "m4c16_x3"):
        shutil.copy(models_folder() / f"{name}.onnx", folder)
    for suffix in ("", "_int8"):
        shutil.copy(models_folder() / f"m4c8_x2{suffix}.onnx", folder / f"m4c16-stream_x2{suffix}.onnx")
    return folder


@pytest.mark.parametrize(
    ("codec", "bits", "expected", "said"),
    [
        ("h264", H264 / 2, "stream", "weights for streams: h264 of "),
        ("h264", H264, "clean", "clean weights: h264 of "),
        ("hevc", STREAM_BELOW["hevc"] / 2, "stream", "weights for streams: hevc of "),
        ("h264", None, "clean", ""),
        ("y4m", None, "clean", ""),
        ("mjpeg", 0.01, "clean", ""),
        ("ffv1", 4.0, "clean", ""),
    ],
)
def test_auto_goes_by_codec_and_bits(folder: Path, codec: str, bits: float | None, expected: str, said: str) -> None:
    settings, why = suited(EngineSettings(), codec, bits, folder=folder)
    assert settings.weights == expected
    assert why.startswith(said)
    assert bool(why) == bool(said)
    assert not said or "--weights" in why


@pytest.mark.parametrize("weights", ["clean", "stream"])
def test_what_was_asked_for_is_kept(folder: Path, weights: Weights) -> None:
    for bits in (0.01, 1.0):
        settings = EngineSettings(weights=weights)
        assert suited(settings, "h264", bits, folder=folder) == (settings, "")


def test_a_network_without_them_is_clean_and_only_says_so_when_asked(folder: Path) -> None:
    for settings in (EngineSettings(scale=3), EngineSettings(network="m4c8"), EngineSettings(model=Path("own.onnx"))):
        assert suited(settings, "h264", 0.01, folder=folder)[0].weights == "clean"
        assert not suited(settings, "h264", 0.01, folder=folder)[1]
    with pytest.raises(UsageError, match=r"no weights of m4c16-stream at scale 3; shipped: .*m4c16-stream_x2"):
        resolve(EngineSettings(scale=3, weights="stream"), 8, folder=folder)
    with pytest.raises(UsageError, match="--model brings its own weights"):
        EngineSettings(model=Path("own.onnx"), weights="stream").validate()


@pytest.mark.parametrize("flags", [{"avx512_vnni"}, {"avx2"}])
def test_the_file_follows_the_weights(folder: Path, flags: set[str]) -> None:
    suffix = "_int8" if "avx512_vnni" in flags else ""
    for weights, name in (("auto", "m4c16"), ("clean", "m4c16"), ("stream", "m4c16-stream")):
        choice = resolve(EngineSettings(weights=weights), 8, processor=flags, folder=folder)  # type: ignore[arg-type]
        assert (choice.path.name, choice.network, choice.radius) == (f"{name}_x2{suffix}.onnx", name, 6)


def test_a_job_carries_them_to_the_engine() -> None:
    network = Network(name="m4c16-stream", path="", scale=3, weights="stream", precision="", backend="", sha256="")
    applied = network.applied(EngineSettings(threads=1))
    assert applied == EngineSettings(threads=1, scale=3, weights="stream")


@pytest.fixture(scope="module")
def program(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program that ships the models of `folder`."""
    home = tmp_path_factory.mktemp("program")
    shutil.copytree(REPOSITORY / "vsr", home / "vsr", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(folder, home / "vsr" / "engines")
    (home / "vsr" / "engines" / "__init__.py").touch()
    return home


def run(program: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    command = [sys.executable, "-m", "vsr.cli.run", *options, "--report", "report.json", "--overwrite"]
    done = subprocess.run(command, cwd=program, capture_output=True, text=True, check=False)
    report = program / "report.json"
    return done, json.loads(report.read_text()) if report.exists() else {}


def test_a_run_looks_and_says_which(program: Path) -> None:
    size, pts = (320, 240), range(30)
    Clip(size=size, pts=pts, options={"crf": "48"}).write(program / "poor.mp4")
    Clip(size=size, pts=pts, options={"crf": "4"}).write(program / "good.mp4")
    done, report = run(program, "poor.mp4", "out.mkv")
    assert done.returncode == 0, done.stderr
    assert report["engine"].startswith("m4c16-stream ")
    assert any(note.startswith("weights for streams: h264 of 0.") for note in report["notes"])
    assert "weights for streams" in done.stderr
    done, report = run(program, "good.mp4", "out.mkv")
    assert report["engine"].startswith("m4c16 ")
    assert any(note.startswith("clean weights: h264 of ") for note in report["notes"])
    done, report = run(program, "poor.mp4", "out.mkv", "--weights", "clean")
    assert report["engine"].startswith("m4c16 ")
    done, _ = run(program, "poor.mp4", "out.mkv", "--weights", "stream", "--scale", "3")
    assert done.returncode == 2
    assert "no weights of m4c16-stream at scale 3" in done.stderr
