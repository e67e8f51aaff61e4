"""vsr-eval on networks: pictures, and videos reduced and coded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from clips import Clip
from vsr.cli import eval as command
from vsr.errors import InputError
from vsr.meter import Meter
from vsr.metrics import to_uint8
from vsr.models import BF16_FLAGS, models_folder, processor_flags
from vsr.reduced import reduced
from vsr.training.evaluate import Candidate, bicubic, candidates, measured, on_clip, on_pictures

FAST = ["--frame", "64x48"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of one soft shape each."""
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(2):
        canvas = np.full((60, 72, 3), 40, np.uint8)
        cv2.circle(canvas, (30, 28), 17 + number, (200, 120, 90), -1, cv2.LINE_AA)
        cv2.imwrite(str(made / f"{number}.png"), canvas)
    return made


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A folder with two networks that ship, one of them in int8 too."""
    made = tmp_path / "engines"
    made.mkdir()
    for name in ("cubic_x2", "m4c8_x2", "m4c8_x2_int8", "m4c8_x3"):
        (made / f"{name}.onnx").write_bytes((models_folder() / f"{name}.onnx").read_bytes())
    return made


def test_weights_and_precisions_are_told_apart(
    folder: Path, engines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(folder), "--engines", str(engines), "--scales", "2", "--json", str(tmp_path / "o.json"), *FAST]
    assert command.main([*words, "--networks", "all"]) == 0
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert [line[:2] for line in lines[2:]] == [
        ["cubic_x2", "float32"],
        ["m4c8_x2", "float32"],
        ["m4c8_x2_int8", "int8"],
    ]
    fast = "bf16" if BF16_FLAGS & processor_flags() else "float32"
    assert [line[-2] for line in lines[2:4]] == [fast, fast]
    assert "ms: the network alone, 64x48 in" in said.err
    content = json.loads((tmp_path / "o.json").read_text())
    assert content["timed"] == "64x48"
    assert [row["weights"] for row in content["rows"]] == [None, "float32", "float32", "int8"]
    assert "int8" in content["rows"][3]["runs_in"]
    assert command.main(words) == 0  # all is what nobody asks for otherwise
    assert len(capsys.readouterr().out.splitlines()) == len(lines)


def test_candidates_are_bicubic_then_models_by_scale(engines: Path) -> None:
    found = candidates(engines, networks=["m4c8"], scales=[2, 3])
    assert [candidate.name for candidate in found] == ["bicubic", "m4c8_x2", "m4c8_x2_int8", "bicubic", "m4c8_x3"]


@pytest.mark.parametrize("crf", [None, 30])
def test_a_clip_is_judged_frame_by_frame(tmp_path: Path, crf: float | None) -> None:
    path, steps = str(Clip(size=(96, 80), pts=range(6)).write(tmp_path / "in.mp4")), list[None]()
    row = measured(Candidate(2), on_clip(path, frames=4, crf=crf), step=lambda: steps.append(None))
    given, meter = reduced(path, 2, frames=4, crf=crf), Meter(border=2)
    for time, low, high in zip(given.times, given.low, given.high, strict=True):
        meter.add(time, high, to_uint8(bicubic(2)(low)))
    assert row.frames == meter.scores
    assert row.score.psnr == pytest.approx(np.mean(meter.scores.psnr))
    assert len(steps) == 4


def test_a_video_alone_has_frames_and_flicker(
    tmp_path: Path, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Clip(size=(96, 80), pts=range(6)).write(tmp_path / "in.mp4")
    scores = []
    for crf in ("10", "45"):
        words = [str(path), "--engines", str(engines), "--networks", "m4c8", "--frames", "3", "--crf", crf, *FAST]
        assert command.main([*words, "--json", str(tmp_path / "o.json")]) == 0
        content = json.loads((tmp_path / "o.json").read_text())
        assert [row["model"] for row in content["rows"]] == ["bicubic", "m4c8_x2", "m4c8_x2_int8"]
        assert [len(row["scores"]["frames"]["psnr"]) for row in content["rows"]] == [3, 3, 3]
        scores.append(content["rows"][1]["psnr"])
    assert scores[0] > scores[1] + 1
    assert capsys.readouterr().out.splitlines()[0].split()[4:9] == ["dB", "5", "%", "least", "SSIM"]


def test_pictures_too_small_are_said() -> None:
    with pytest.raises(InputError, match="18x15 is too small to judge x3 by"):
        measured(Candidate(3), on_pictures([np.zeros((15, 18), np.uint8)]))


def test_a_plot_is_drawn(folder: Path, engines: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = [str(folder), "--engines", str(engines), "--plot", str(tmp_path / "o.png"), *FAST]
    assert command.main(words) == 0
    assert cv2.imread(str(tmp_path / "o.png")).shape[1] > 1000  # a panel for each of three scales


def test_a_plot_without_matplotlib_is_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from vsr.cli.eval import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, str(folder), "--plot", str(tmp_path / "o.png")]
    shown = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == 'vsr-eval: --plot needs matplotlib (pip install "vsr[train]")\n'
