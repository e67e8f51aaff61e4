"""What every test may rely on: the folder of real media, and an end for runs that hang."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vsr.report import Report

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS_TO_EXIT = 60


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real media: VSR_DATA, else ../shared/data beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("VSR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real media in {folder}; set VSR_DATA to try them")
    return folder


@pytest.fixture(scope="session")
def repeat(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """By scale, a model that repeats every luma sample: quick, and what comes out can be told without it."""
    from strong import luma_model

    models = {scale: tmp_path_factory.mktemp("models") / f"repeat_x{scale}.onnx" for scale in (2, 3, 4)}
    for scale, path in models.items():
        path.write_bytes(luma_model(scale, zero=True, channels=2, body=0).proto.SerializeToString())
    return models


@pytest.fixture
def upscale(repeat: dict[int, Path]) -> Callable[..., Report]:
    """vsr.upscale with a model that repeats samples, exactly."""

    def go(source: Path, target: Path, scale: int = 2, **options: Any) -> Report:
        import vsr

        return vsr.upscale(source, target, scale, **{"model": repeat[scale], "precision": "float32"} | options)

    return go


@pytest.fixture(scope="session")
def gpu() -> str:
    """The name of an NVIDIA GPU; skips where there is none, fails where REQUIRE_GPU=1 promises one."""
    from vsr.device import devices
    from vsr.device.protocol import NoDeviceError

    try:
        return devices()[0]
    except NoDeviceError as error:
        if os.environ.get("REQUIRE_GPU") == "1":
            pytest.fail(f"REQUIRE_GPU=1, but {error}")
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command line's handlers of signals end with the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled random models stay out of the user's cache folder; child processes inherit it."""
    os.environ["VSR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def pytest_unconfigure() -> None:
    """A library's thread that keeps Python from ending fails the run, as a hanging test does (see pyproject.toml)."""
    faulthandler.dump_traceback_later(SECONDS_TO_EXIT, exit=True, file=sys.__stderr__)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, and no waiting for a core that other work holds."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth shapes with sharp edges, 30 of them: enough for one to be held out."""
    import cv2
    import numpy as np

    folder = tmp_path_factory.mktemp("pictures") / "synthetic"
    folder.mkdir()
    rng = np.random.default_rng(7)
    for index in range(30):
        canvas = cv2.resize(rng.integers(0, 256, (5, 6, 3)).astype(np.uint8), (173, 160), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            centre = tuple(map(int, rng.integers(0, 160, 2)))
            colour = tuple(map(int, rng.choice([0, 60, 255], 3)))
            cv2.circle(canvas, centre, int(rng.integers(3, 30)), colour, -1, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{index:02}.png"), canvas)
    return folder.parent
