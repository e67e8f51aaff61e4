"""The wheel: built, installed into a fresh environment, run outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MODELS = {path.name for path in (REPOSITORY / "engines").glob("*.onnx")}

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the source distribution, so that this one is complete too."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, REPOSITORY, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that has the wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-c", REPOSITORY / "constraints.txt"]
    run(*pip, wheel, folder=folder)
    return folder / "bin"


def clip(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        y, x = np.mgrid[:48, :64]
        for n in range(8):
            grey = (128 + 100 * np.sin((x + 2 * n) / 5) * np.cos(y / 4)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.stack([grey] * 3, -1), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def test_the_wheel_carries_models_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.rpartition("/")[2] for name in names if name.startswith("vsr/engines/")} >= MODELS
    assert {"vsr/engines/manifest.json", "vsr/engines/README.md", "vsr/py.typed"} <= set(names)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vsr"}


def test_it_upscales_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    clip(tmp_path / "in.mp4")
    run(installed / "vsr-run", "in.mp4", "out.mp4", "--scale", "2", folder=tmp_path)
    with av.open(str(tmp_path / "out.mp4")) as result:
        sizes = [(frame.width, frame.height) for frame in result.decode(video=0)]
    assert sizes == [(128, 96)] * 8


def test_it_needs_no_torch(installed: Path, tmp_path: Path) -> None:
    listed = run(installed / "python", "-m", "pip", "list", "--format=freeze", folder=tmp_path)
    assert "openvino==" in listed
    assert "torch==" not in listed


def test_its_models_are_the_packages_own(installed: Path, tmp_path: Path) -> None:
    code = "import vsr.models; print(vsr.models.models_folder())"
    folder = Path(run(installed / "python", "-c", code, folder=tmp_path).strip())
    assert folder.is_relative_to(installed.parent)
    assert {path.name for path in folder.glob("*.onnx")} == MODELS
