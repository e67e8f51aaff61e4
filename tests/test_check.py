"""An engine's results against float32 on the CPU, and what is remembered, on engines that are wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strong import chosen, luma_model, spec
from vsr.backends import open_engine
from vsr.backends.check import CheckError, check, compare, forget, structured
from vsr.backends.engine import Engine, QueuedEngine
from vsr.frame import Frame, PlanarFormat, Planes
from vsr.graph import FrameSpec
from vsr.models import ModelChoice
from vsr.settings import EngineSettings

Spoil = Callable[[Planes, int], None]


class Spoiling(QueuedEngine[Frame]):
    """Another engine's results, changed; counts its frames."""

    def __init__(self, inner: Engine, what: FrameSpec, scale: int, spoil: Spoil) -> None:
        super().__init__(what, scale, 2)
        self.label, self.frames = "spoilt", 0
        self._inner, self._spoil = inner, spoil

    def _start(self, frame: Frame, out: Planes | None) -> Frame:
        result = self._result(frame, out)
        self._inner.wait(self._inner.submit(frame, result.planes))
        self._spoil(result.planes, self.frames)
        self.frames += 1
        return result

    def _finish(self, result: Frame, timeout: float | None) -> Frame:
        return result

    def close(self) -> None:
        self._inner.close()
        super().close()


def spoilt(choice: ModelChoice, what: FrameSpec, spoil: Spoil) -> Spoiling:
    return Spoiling(open_engine(EngineSettings(scale=choice.scale, threads=1), choice, what), what, choice.scale, spoil)


def fine(planes: Planes, frame: int) -> None:
    pass


def rounding(planes: Planes, frame: int) -> None:
    """As fp16 is off: a code in a few samples in a hundred."""
    for plane in planes:
        plane.flat[::200] ^= 1


def last_corner(planes: Planes, frame: int) -> None:
    planes[0][-1, -1] ^= 8


def first_chroma(planes: Planes, frame: int) -> None:
    planes[1][0, 0] ^= 8


def often(planes: Planes, frame: int) -> None:
    planes[0].flat[::100] ^= 2


def second_slot(planes: Planes, frame: int) -> None:
    if frame == 1:
        planes[0][:] = 0


SMALL, LARGE = spec("420", 8, (50, 38)), spec("420", 8, (399, 210))


@pytest.mark.parametrize("what", [SMALL, LARGE], ids=["one tile", "tiles"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (fine, ""),
        (rounding, ""),
        (last_corner, r"up to 8 codes \(2 allowed\)"),
        (first_chroma, r"up to 8 codes"),
        (often, r"by more than 1 in [01]\.\d+% \(0.1%\)"),
        (second_slot, "up to 255 codes"),
    ],
)
def test_wrong_results_are_found(tmp_path: Path, what: FrameSpec, spoil: Spoil, message: str) -> None:
    choice = chosen(tmp_path, luma_model(2), "float32")
    engine = spoilt(choice, what, spoil)
    if message:
        with pytest.raises(CheckError, match=message):
            compare(engine, choice, what)
    else:
        compare(engine, choice, what)
    assert engine.frames == engine.capacity
    engine.close()


@pytest.mark.parametrize(
    "what",
    [
        spec("422", 10, (150, 40), "left"),
        FrameSpec(format=PlanarFormat(chroma="420", alpha=True), width=141, height=90),
        FrameSpec(format=PlanarFormat(chroma="grey", depth=12), width=300, height=20),
    ],
    ids=str,
)
def test_any_layout(tmp_path: Path, what: FrameSpec) -> None:
    """Four codes are nothing above 8 bits and much at 8."""
    choice = chosen(tmp_path, luma_model(3), "float32")

    def off(planes: Planes, frame: int) -> None:
        planes[-1].flat[::2000] ^= 4

    for spoil in (fine, off):
        engine = spoilt(choice, what, spoil)
        if spoil is off and what.format.depth == 8:
            with pytest.raises(CheckError):
                compare(engine, choice, what)
        else:
            compare(engine, choice, what)
        engine.close()


def test_a_failure_is_remembered_until_it_is_forgotten(tmp_path: Path) -> None:
    """The plan stays on disk: it isn't built or compared at every start to find the same again."""
    choice = chosen(tmp_path, luma_model(2), "float32")
    bad = spoilt(choice, SMALL, last_corner)
    with pytest.raises(CheckError, match=r"up to 8 codes \(2 allowed\).*\)$"):
        check(bad, choice, SMALL, folder=tmp_path)
    with pytest.raises(CheckError, match=r"up to 8 codes .* found at an earlier start, `vsr-plan clean --all`"):
        check(bad, choice, SMALL, folder=tmp_path)
    assert bad.frames == 2
    forget(tmp_path)
    with pytest.raises(CheckError):
        check(bad, choice, SMALL, folder=tmp_path)
    assert bad.frames == 4
    bad.label = "a later library"
    with pytest.raises(CheckError):
        check(bad, choice, SMALL, folder=tmp_path)
    assert bad.frames == 6
    bad.close()


def test_a_verdict_that_cant_be_kept_counts_all_the_same(tmp_path: Path) -> None:
    choice = chosen(tmp_path, luma_model(2), "float32")
    engine = spoilt(choice, SMALL, last_corner)
    (tmp_path / "checked").write_text("a file where the folder would be")
    with pytest.raises(CheckError):
        check(engine, choice, SMALL, folder=tmp_path)
    engine.close()


def test_a_pass_is_remembered(tmp_path: Path) -> None:
    choice = chosen(tmp_path, luma_model(2), "float32")
    good = spoilt(choice, SMALL, fine)
    for _ in range(3):
        check(good, choice, SMALL, folder=tmp_path)
    assert good.frames == 2
    good.label = "another library"
    check(good, choice, SMALL, folder=tmp_path)
    assert good.frames == 4
    for path in (tmp_path / "checked").iterdir():
        path.write_text("{}")
    check(good, choice, SMALL, folder=tmp_path)
    assert good.frames == 6
    good.close()


def test_the_frame_has_everything() -> None:
    for what in (SMALL, LARGE, spec("444", 10, (720, 500))):
        given = structured(what)
        for plane in given.planes:
            assert plane.min() == 0
            assert plane.max() == what.format.white
        assert np.unique(given.planes[0]).size > 100
        assert all((a == b).all() for a, b in zip(given.planes, structured(what).planes, strict=True))
