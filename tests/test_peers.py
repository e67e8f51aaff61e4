"""benchmarks/peers at toy size: every peer that is here gives right pictures, the others are named with the reason."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from benchmarks.peers import ffmpeg, onnx_runtime, opencv, pytorch
from benchmarks.peers.__main__ import main
from benchmarks.peers.clip import JUDGED, drawn, of_video
from benchmarks.peers.once import Judged, Order, Timed, judged
from benchmarks.peers.ours import Ours
from benchmarks.peers.peer import Clip, InProcess, Peer, Stopwatch
from benchmarks.peers.rounds import Table, compare
from benchmarks.peers.rows import MEASURE, peers
from vsr.errors import InputError, Unavailable

ROOT = Path(__file__).resolve().parent.parent
FRAMES, SIZE = 6, (64, 48)
NO_FFMPEG = shutil.which("ffmpeg") is None
needs_ffmpeg = pytest.mark.skipif(NO_FFMPEG, reason="no program ffmpeg")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return drawn(tmp_path_factory.mktemp("peers"), SIZE, 2, FRAMES)


@pytest.fixture(scope="module")
def nearest(clip: Clip) -> float:
    return judged(InProcess("nearest", opencv.resize(cv2.INTER_NEAREST)), clip).psnr


def test_the_clip_is_played_back_and_its_truth_is_of_the_large_frames(clip: Clip) -> None:
    truth = np.load(clip.truth)
    assert truth.shape == (JUDGED, 2 * SIZE[1], 2 * SIZE[0])
    with av.open(clip.path) as file:
        frames = [frame.to_ndarray(format="bgr24").astype(int) for frame in file.decode(video=0)]
    assert [frame.shape for frame in frames] == [(SIZE[1], SIZE[0], 3)] * (2 * FRAMES - 2)
    difference = np.abs(frames[1] - frames[-1]).mean()
    assert difference < np.abs(frames[1] - frames[FRAMES - 1]).mean()


def test_a_video_of_one_frame_is_refused(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one frame only"):
        of_video(tmp_path, clip.path, 2, frames=1)


@pytest.mark.parametrize("peer", peers(None), ids=lambda peer: peer.name)
def test_every_peer_upscales_or_says_why_not(peer: Peer, clip: Clip, nearest: float) -> None:
    watch = Stopwatch(seconds=0.01)
    try:
        scores = judged(peer, clip)
    except Unavailable as error:
        absent = str(error)
        with pytest.raises(Unavailable, match=re.escape(absent)):
            peer.timed(clip, watch)
        assert "\n" not in absent
        assert peer.name.startswith(("ffmpeg", "opencv dnn_superres", "torch", "onnxruntime"))
    else:
        assert nearest + 0.3 < scores.psnr < nearest + 6
        ran = peer.timed(clip, watch)
        assert 0 < watch.frames < 2 * FRAMES - 2
        assert watch.fps > 0
        assert ran.peak_mib > 10
        assert ran.engine


@needs_ffmpeg
def test_lanczos_beats_nearest_and_bicubic(clip: Clip) -> None:
    psnr = [judged(ffmpeg.Filtered(n, ffmpeg.scale(n)), clip).psnr for n in ("neighbor", "bicubic", "lanczos")]
    assert psnr == sorted(psnr)
    assert psnr[0] + 0.5 < psnr[-1]


def test_other_libraries_give_what_vsr_gives_in_float(clip: Clip) -> None:
    others = [("espcn", opencv.network("espcn")), ("fsrcnn", opencv.network("fsrcnn"))]
    others += [("fsrcnn", pytorch.network("fsrcnn", "float32"))]
    others += [("m4c16", pytorch.network("m4c16", "float32")), ("espcn", onnx_runtime.network("espcn", "float32"))]
    compared = 0
    for network, open in others:
        wanted = judged(Ours(network, precision="float32"), clip).psnr
        try:
            assert judged(InProcess(network, open), clip).psnr == pytest.approx(wanted, abs=0.05)
        except Unavailable:
            continue
        compared += 1
    assert compared >= 2


def test_chroma_is_upscaled_too(clip: Clip) -> None:
    sizes = [(48, 64), (24, 32), (24, 32)]
    planes = tuple(np.full(size, 90 + 40 * n, np.uint8) for n, size in enumerate(sizes))
    for open in (opencv.resize(cv2.INTER_CUBIC), opencv.network("espcn")):
        up = open(clip)[0](planes)
        assert [plane.shape for plane in up] == [(2 * rows, 2 * columns) for rows, columns in sizes]
        assert [plane.dtype for plane in up] == [np.uint8] * 3
        assert all(np.abs(plane.astype(int) - (90 + 40 * n)).max() <= 2 for n, plane in enumerate(up))


def test_a_model_that_is_none_is_said(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "sr_x2.model").write_bytes(b"none")
    (tmp_path / "ESPCN_x2.pb").write_bytes(b"none")
    for name in ("ffmpeg sr", "opencv dnn_superres espcn"):
        peer = next(each for each in peers(tmp_path) if each.name == name)
        with pytest.raises(Unavailable, match=r"ffmpeg|OpenCV has no|doesn't read ESPCN_x2\.pb"):
            judged(peer, clip)


def test_the_watch_counts_from_the_first_frame() -> None:
    times = iter([10.0, 11.0, 12.0])
    watch = Stopwatch(1.5, lambda: next(times))
    watch.seen(0)
    watch.seen(2)
    with pytest.raises(Unavailable, match="fewer than two"):
        _ = watch.fps
    watch.seen(5)
    assert not watch.expired
    watch.seen(8)
    assert watch.expired
    assert (watch.frames, watch.fps) == (6, 3.0)


def test_rounds_are_interleaved_and_what_fails_is_absent() -> None:
    ran: list[str] = []
    fps = {MEASURE: iter([90.0, 110.0, 100.0]), "slow": iter([1.0, 2.0, 4.0]), "slower": iter([0.9])}

    def run(order: Order) -> dict[str, Any]:
        ran.append(f"{order.work} {order.peer}")
        if order.peer == "missing" or order.peer == "breaks" and ran.count("time breaks") == 2:
            raise Unavailable("not here")
        if order.work == "judge":
            return {"psnr": 30.0, "ssim": 0.9}
        speed = next(fps.get(order.peer, iter([1.0])))
        return {"engine": "fake", "fps": speed, "frames": 9, "peak_mib": 5 * speed}

    names = [MEASURE, "missing", "slow", "slower", "breaks"]
    clip = Clip(path="", truth="", width=2, height=2, scale=2)
    table = Table(clip="a clip")
    compare(table, [Order(work="time", peer=name, clip=clip, seconds=1) for name in names], 3, run)
    each = [f"time {MEASURE}", "time slow"]
    first = [*each, "time slower", "time breaks"]
    assert ran == [f"judge {name}" for name in names] + first + [*each, "time breaks"] + each
    assert table.absent == {"missing": "not here", "breaks": "not here"}
    assert [row.name for row in table.rows] == [MEASURE, "slow", "slower"]
    shown = table.content()["rows"]
    assert [row["fps"] for row in shown] == [100.0, 2.0, 0.9]
    assert [row["vsr_times"] for row in shown] == [1.0, 50.0, 100 / 0.9]
    assert shown[1]["peak_mib"] == 20.0
    assert table.rows[0].judged == Judged(psnr=30.0, ssim=0.9)
    assert table.rows[1].timed[2] == Timed(engine="fake", fps=4.0, frames=9, peak_mib=20.0)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "peers.json"
    words = ["--sizes", "64x48", "--frames", "4", "--rounds", "2", "--seconds", "0.05", "--json", str(out)]
    words += ["--models", str(tmp_path), "--peers", "vsr m4c16", "opencv cubic", "opencv dnn_superres espcn"]
    command = [sys.executable, "-m", "benchmarks.peers", *words]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "absent: opencv dnn_superres espcn: " in shown.stdout
    content = json.loads(out.read_text())
    rows = content["tables"][0]["rows"]
    assert [row["name"] for row in rows] == ["vsr m4c16", "opencv cubic"]
    assert all(len(row["timed"]) == 2 and row["fps"] > 0 and row["judged"]["ssim"] > 0.5 for row in rows)
    assert rows[0]["vsr_times"] == 1
    assert all(f"{row['fps']:.1f}" in shown.stdout for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--peers", "waifu2x"], 2, "vsr m4c16, vsr m4c8"),
        (["--models", "nowhere"], 2, "no such folder"),
        (["--json", "nowhere/a.json"], 4, "nowhere"),
        (["--input", "nowhere.mp4"], 3, "nowhere.mp4"),
    ],
)
def test_what_cannot_be_meant_is_said(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    assert said in capsys.readouterr().err.splitlines()[-1]
