"""benchmarks/shapes.py at toy size: what it takes, what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vsr.models import BF16_FLAGS, models_folder, processor_flags

pytest.importorskip("torch")

PROGRAM = Path(__file__).resolve().parent.parent / "benchmarks" / "shapes.py"


def shapes(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(PROGRAM), *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_times_and_scores_of_any_shape(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    cv2.imwrite(str(tmp_path / "some" / "a.png"), np.random.default_rng(0).integers(0, 256, (40, 48), np.uint8))
    model = tmp_path / "m4c8_x2.onnx"
    model.write_bytes((models_folder() / model.name).read_bytes())
    fast = "bf16" if BF16_FLAGS & processor_flags() else "float32"
    words = ["m4c8", "u2-m1c12", "fsrcnn-s", str(model), "--sizes", "32x24", "--rounds", "2", "--seconds", "0.01"]
    words += ["--precisions", fast, "int8", "--pictures", str(tmp_path / "some"), "--out", str(tmp_path / "o.json")]
    shown = shapes(*words)
    assert shown.returncode == 0, shown.stderr
    rows = {row["shape"]: row for row in json.loads((tmp_path / "o.json").read_text())["rows"]}
    assert list(rows) == ["m4c8", "u2-m1c12", "fsrcnn-s"]
    both = {f"32x24 {fast}", "32x24 int8"}
    assert [set(row["ms"]) for row in rows.values()] == [both, both, {f"32x24 {fast}"}]
    assert all(len(times) == 2 and min(times) > 0 for row in rows.values() for times in row["ms_all"].values())
    assert rows["m4c8"]["macs"] == 2664
    assert [set(row["psnr"].get("some", ())) for row in rows.values()] == [{"float32"}, set(), set()]


@pytest.mark.parametrize(
    ("word", "message"), [("m4x8", "unknown network 'm4x8'"), ("m4c8_x3.onnx", "give a file called NAME_x2.onnx")]
)
def test_what_is_no_shape_is_said(word: str, message: str) -> None:
    shown = shapes(word)
    assert shown.returncode == 1
    assert message in shown.stderr.splitlines()[-1]
