"""Videos beside their reference: pairing by time, PSNR, SSIM, flicker, VMAF, and what vsr-eval says of them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clips import Clip, damaged, frames
from vsr.cli import eval as command
from vsr.compare import best_offset, compare
from vsr.errors import InputError
from vsr.frame import Colour
from vsr.meter import IDENTICAL, REACH, Meter, spread, static
from vsr.metrics import psnr, ssim
from vsr.report import Report
from vsr.vmaf import Vmaf, find

LOSSLESS = {"qp": "0"}
SIZE = (64, 48)


def clip(path: Path, **facts: Any) -> Path:
    return Clip(**{"size": SIZE, "pts": range(10), "options": LOSSLESS, **facts}).write(path)


def biased(rng: np.random.Generator, shape: tuple[int, int], peak: int) -> Any:
    """Random codes, a third of them 0 and a third the maximum."""
    return np.choose(rng.integers(0, 3, shape), [0, peak, rng.integers(0, peak + 1, shape)]).astype(np.uint16)


@pytest.mark.parametrize("depth", [8, 10])
def test_scores_are_those_of_the_metrics_at_the_depths_peak(depth: int) -> None:
    rng, meter, peak = np.random.default_rng(depth), Meter(depth=depth, border=3), (1 << depth) - 1
    a, b = (biased(rng, (40, 50), peak) for _ in range(2))
    meter.add(0.5, a, b)
    meter.add(0.6, a, a)
    assert meter.scores.times == [0.5, 0.6]
    assert meter.scores.psnr == [pytest.approx(psnr(a / peak, b / peak, border=3, peak=1)), IDENTICAL]
    scaled = ssim(a * (255 / peak), b * (255 / peak), border=3)
    assert meter.scores.ssim == [pytest.approx(scaled, rel=1e-6), pytest.approx(1)]


def test_planes_too_small_for_ssim_are_said() -> None:
    with pytest.raises(InputError, match="14x12 is too small"):
        Meter(border=1).add(0, np.zeros((12, 14), np.uint8), np.zeros((12, 14), np.uint8))


def test_static_is_what_stands_still_with_all_around_it() -> None:
    before = np.random.default_rng(0).integers(0, 256, (60, 70)).astype(np.uint8)
    now = before.copy()
    now[30, 40] += 1
    still = static(before, now)
    rows, columns = np.mgrid[:60, :70]
    expected = (np.abs(rows - 30) > REACH) | (np.abs(columns - 40) > REACH)
    np.testing.assert_array_equal(still, expected)
    assert static(before, before).all()


@pytest.mark.parametrize("depth", [8, 10])
def test_flicker_is_in_8_bit_codes_and_only_of_static_pixels(depth: int) -> None:
    rng, unit = np.random.default_rng(1), 1 << (depth - 8)
    reference = biased(rng, (64, 64), (1 << depth) - 1)
    moved = reference.copy()
    moved[:, 32:] ^= unit  # the right half moves: nothing is static from 8 columns before it
    meter = Meter(depth=depth)
    for number, (shown, change) in enumerate([(reference, 0), (moved, 3), (moved, 3), (moved, 1)]):
        result = np.full((64, 64), 50 * unit, np.uint16)
        result[:, :24] += change * unit
        result[:, 24:] += number * 20 * unit if number < 2 else 20 * unit
        meter.add(number, shown, result)
    assert meter.scores.flicker == [None, 3, 0, pytest.approx(2 * 24 / 64)]
    assert meter.scores.static == [0, 24 / 64, 1, 1]
    assert meter.scores.whole_flicker == pytest.approx((3 * 24 + 0 + 2 * 24) / (24 + 64 + 64))


def test_a_reference_that_never_stands_still_has_no_flicker() -> None:
    meter = Meter()
    for value in range(3):
        meter.add(value, np.full((20, 20), value, np.uint8), np.full((20, 20), 9 * value, np.uint8))
    assert meter.scores.whole_flicker is None


def test_a_change_of_size_begins_anew() -> None:
    meter = Meter()
    for side in (20, 20, 24, 24):
        meter.add(side, np.full((20, side), 90, np.uint8), np.full((20, side), 90, np.uint8))
    assert meter.scores.flicker == [None, 0, None, 0]


def test_spread() -> None:
    assert spread([*range(101)]) == {"mean": 50, "minimum": 0, "p5": 5, "p50": 50}


def test_offset_moves_only_what_pairs_better() -> None:
    wanted, quarter = [Fraction(n, 25) for n in range(10)], Fraction(1, 100)
    late = [time + Fraction(7, 5) for time in wanted]
    assert best_offset(wanted, late, quarter) == Fraction(7, 5)
    assert best_offset(wanted, wanted[1:], quarter) == 0  # its first frame is missing
    assert best_offset(wanted, [time + Fraction(1, 1000) for time in wanted], quarter) == 0  # Matroska's rounding


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_copy_is_identical_in_any_container(tmp_path: Path, suffix: str) -> None:
    base, pts = Fraction(1, 24000), [0, 1001, 2002, 3003, 6006, 7007, 9009]
    same = {"time_base": base, "pts": pts, "last": 1001, "bframes": 2, "gop": 4}
    reference, result = clip(tmp_path / "a.mp4", **same), clip(tmp_path / f"b{suffix}", **same)
    found = compare(str(reference), str(result))
    assert found.scores.psnr == [IDENTICAL] * 7
    assert found.scores.times == pytest.approx([float(p * base) for p in pts])
    assert (found.reference_alone, found.result_alone, found.notes, found.damaged) == ([], [], [], 0)


def test_frames_pair_by_time_and_the_others_are_named(tmp_path: Path) -> None:
    lossless = {"codec": "ffv1", "options": {}}
    reference = clip(tmp_path / "a.mkv", pts=[0, 1, 2, 3, 5, 6], **lossless)
    result = clip(tmp_path / "b.mkv", pts=[1, 2, 4, 5, 6, 7, 8], **lossless)
    found = compare(str(reference), str(result))
    assert found.scores.times == pytest.approx([0.04, 0.08, 0.2, 0.24])
    assert found.reference_alone == pytest.approx([0, 0.12])
    assert found.result_alone == pytest.approx([0.16, 0.28, 0.32])
    a, b = ({shown.time: shown.planes[0] for shown in frames(path)} for path in (reference, result))
    assert found.scores.psnr == pytest.approx([min(IDENTICAL, psnr(a[t], b[t])) for t in sorted(a.keys() & b.keys())])


def test_depths_meet_at_the_deeper_one(tmp_path: Path) -> None:
    reference = clip(tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv420p10le", options={})
    result = clip(tmp_path / "b.mkv", codec="ffv1", pix_fmt="yuv420p", options={})
    found = compare(str(reference), str(result), frames=4)
    planes = [(a.planes[0], b.planes[0] * np.uint16(4)) for a, b in zip(frames(reference), frames(result), strict=True)]
    assert found.scores.psnr == pytest.approx([psnr(a, b, peak=1023) for a, b in planes[:4]])
    assert found.result_alone == []  # what is beyond the frames asked for isn't missed


def test_streams_without_times_are_counted(tmp_path: Path) -> None:
    reference, result = clip(tmp_path / "a.mp4"), clip(tmp_path / "b.h264")
    found = compare(str(reference), str(result), frames=5)
    assert found.scores.psnr == [IDENTICAL] * 5


def test_an_upscaled_clip_is_compared_with_what_it_was_reduced_from(
    tmp_path: Path, upscale: Callable[..., Report]
) -> None:
    small = clip(tmp_path / "small.mp4")
    for name in ("a.mp4", "b.mkv"):
        upscale(small, tmp_path / name, crf=0)
    found = compare(str(tmp_path / "a.mp4"), str(tmp_path / "b.mkv"))
    assert found.scores.psnr == [IDENTICAL] * 10


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    reference = clip(tmp_path / "a.mp4")
    other = clip(tmp_path / "b.mp4", size=(96, 48))
    with pytest.raises(InputError, match=r"b\.mp4 is 96x48 and .*a\.mp4 64x48"):
        compare(str(reference), str(other))
    full = clip(tmp_path / "full.mp4", colour=Colour(range=2))
    assert "full range" in compare(str(reference), str(full)).notes[0]


FFMPEG = """#!{python}
import json, sys
import numpy as np
options = sys.argv[1:]
if "-filters" in options:
    print(" .. libvmaf           VV->V      Calculate the VMAF between two video streams." if {has} else " .. psnr")
    sys.exit()
if {fails}:
    print("no model", file=sys.stderr)
    sys.exit(1)
kind = np.uint16 if options[options.index("-pix_fmt") + 1] == "yuv444p10le" else np.uint8
width, height = map(int, options[options.index("-s") + 1].split("x"))
assert "libvmaf=model=version=vmaf_v0.6.1\\\\\\\\:name=vmaf|" in options[options.index("-lavfi") + 1]
shown = np.frombuffer(sys.stdin.buffer.read(), kind).reshape(-1, 3, height, width).astype(int)
assert (shown[:, 1:] == (512 if kind == np.uint16 else 128)).all()
result, reference = shown[:, 0, : height // 2], shown[:, 0, height // 2 :]
scores = [{{"vmaf": float(a.mean()), "vmaf_neg": float(b.mean())}} for a, b in zip(result, reference)]
json.dump({{"frames": [{{"frameNum": n, "metrics": s}} for n, s in enumerate(scores)]}}, open("scores.json", "w"))
"""


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Callable[..., str]:
    """A program that takes what Vmaf gives it and answers in libvmaf's form with the means of both planes."""

    def make(*, has: bool = True, fails: bool = False) -> str:
        folder = tmp_path / f"{has}{fails}"
        folder.mkdir(exist_ok=True)
        (folder / "ffmpeg").write_text(FFMPEG.format(python=sys.executable, has=has, fails=fails))
        (folder / "ffmpeg").chmod(0o755)
        return str(folder / "ffmpeg")

    return make


@pytest.mark.parametrize("depth", [8, 10])
def test_vmaf_gets_pairs_and_gives_a_score_for_each(ffmpeg: Callable[..., str], depth: int) -> None:
    rng, kind = np.random.default_rng(depth), np.uint8 if depth == 8 else np.uint16
    pairs = [tuple(biased(rng, (21, 33), (1 << depth) - 1).astype(kind) for _ in range(2)) for _ in range(3)]
    with Vmaf(ffmpeg()) as judge:
        for reference, result in pairs:
            judge.add(reference, result, depth)
        scores = judge.scores()
    assert judge.missing == ""
    assert scores["vmaf"] == pytest.approx([result.mean() for _, result in pairs])
    assert scores["vmaf_neg"] == pytest.approx([reference.mean() for reference, _ in pairs])


def test_without_vmaf_it_is_said_why(ffmpeg: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    plane = np.zeros((480, 640), np.uint16)
    why = []
    for program, depth in ((None, 8), (ffmpeg(fails=True), 8), (ffmpeg(), 12)):
        with Vmaf(program) as judge:
            for _ in range(4):
                judge.add(plane, plane, depth)
            assert judge.scores() == {}
        why.append(judge.missing)
    assert "no ffmpeg" in why[0]
    assert "failed (no model)" in why[1]
    assert "8 and 10 bits, not 12" in why[2]
    with Vmaf(ffmpeg()) as judge:
        for side in (20, 24):
            judge.add(np.zeros((20, side), np.uint8), np.zeros((20, side), np.uint8), 8)
        assert judge.scores() == {}
    assert judge.missing == "the size changes on the way"
    for program, found in ((ffmpeg(has=False), False), (ffmpeg(), True)):
        monkeypatch.setenv("PATH", str(Path(program).parent))
        assert (find() == program) is found


class TestCommand:
    """vsr-eval REFERENCE RESULT ..."""

    def test_table_json_and_csv(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        reference = clip(tmp_path / "a.mp4")
        results = [clip(tmp_path / "b.mp4"), clip(tmp_path / "c.mp4", pts=range(2, 12), options={"crf": "40"})]
        files = [str(path) for path in (reference, *results)]
        out = ["--json", str(tmp_path / "o.json"), "--csv", str(tmp_path / "o.csv")]
        assert command.main([files[0], "--frames", "5", *files[1:], *out]) == 0
        said = capsys.readouterr()
        lines = [line.split() for line in said.out.splitlines()]
        assert [line[0] for line in lines] == ["video", "a.mp4", "b.mp4", "c.mp4"]
        assert lines[1][1:] == ["0.000"]
        assert lines[2][1:3] == ["5", "100.000"]
        assert float(lines[3][2]) < 50
        assert "c.mp4: its times are +0.080 s against" in said.err
        content = json.loads((tmp_path / "o.json").read_text())
        assert [row["paired"] for row in content["results"]] == [5, 5]
        assert content["results"][0]["frames"]["psnr"] == [IDENTICAL] * 5
        with (tmp_path / "o.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [float(row["psnr"]) for row in rows[5:]] == content["results"][1]["frames"]["psnr"]

    def test_frames_without_partner_and_damage(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        reference = clip(tmp_path / "a.mp4", pts=range(30), options={"crf": "10"})
        broken = damaged(reference, tmp_path / "b.mp4", flips=40, keep=400)
        assert command.main([str(reference), str(broken)]) == 5
        assert "damaged in" in capsys.readouterr().err
        short = clip(tmp_path / "c.mp4", pts=[*range(3), *range(20, 25)])
        assert command.main([str(reference), str(short)]) == 0
        said = capsys.readouterr().err
        assert "22 frames of the reference without a partner, at 0.120, 0.160" in said
        assert "and so on" in said

    def test_vmaf_has_columns_where_it_is_found(
        self,
        tmp_path: Path,
        ffmpeg: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        path = str(clip(tmp_path / "a.mp4"))
        monkeypatch.setenv("PATH", str(Path(ffmpeg()).parent))
        assert command.main([path, path]) == 0
        said = capsys.readouterr()
        assert said.out.splitlines()[0].split()[-2:] == ["VMAF", "NEG"]
        assert len(said.out.splitlines()[2].split()) == 11
        monkeypatch.setenv("PATH", str(tmp_path))
        assert command.main([path, path]) == 0
        said = capsys.readouterr()
        assert "VMAF" not in said.out
        assert said.err.count("no VMAF: no ffmpeg that has libvmaf") == 1

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["a.mp4", "none.mp4"], 3, "none.mp4: no such file"),
            (["none"], 3, "none: no such file or folder"),
            (["n" * 300], 3, f"{'n' * 300}: File name too long"),
            (["empty"], 3, "empty: no pictures"),
            (["text.mp4"], 3, "text.mp4: can't be read as video"),
            (["a.mp4", "a.mp4", "--networks", "m4c8"], 2, "--networks means nothing for videos and their reference"),
            (["empty", "--crf", "23"], 2, "--crf means nothing for a folder of pictures"),
            (["a.mp4", "--csv", "o.csv"], 2, "--csv means nothing for a video alone"),
            (["a.mp4", "a.mp4", "--frames", "0"], 2, "--frames must be at least 1"),
            (["a.mp4", "--crf", "60"], 2, "--crf must be from 0 to 51"),
            (["a.mp4", "a.mp4", "--json", "no/o.json"], 4, "no: no such folder"),
            (["empty", "--plot", "no/o.png"], 4, "no: no such folder"),
            (["empty", "--json", "empty"], 4, "empty: is a folder"),
            (["a.mp4", "--networks", "vdsr"], 2, "no model of vdsr"),
        ],
    )
    def test_one_line_and_a_code_before_any_work(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        code: int,
        message: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        clip(tmp_path / "a.mp4")
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.mp4").write_text("no video")
        assert command.main(words) == code
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith(f"vsr-eval: {message}")

    def test_a_reader_that_leaves_is_no_traceback(self, tmp_path: Path) -> None:
        path = str(clip(tmp_path / "a.mp4"))
        words = [sys.executable, "-m", "vsr.cli.eval", *[path] * 3]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            said = process.stderr.read()
        assert process.returncode == 4
        assert said == "vsr-eval: standard output: Broken pipe\n"
