"""vsr-run as a user meets it: what it writes, says and returns, and what it leaves behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vsr
from clips import Clip, Sound, damaged, frames, tracks, video
from vsr.cli.progress import Bar, JsonLines, silent
from vsr.cli.run import main
from vsr.pipeline import run
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings

PYTHON = (sys.executable, "-c", "import sys; from vsr.cli.run import main; sys.exit(main())")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vsr_run(capsys: pytest.CaptureFixture[str], repeat: dict[int, Path]) -> Run:
    """The command line in this process: (exit code, standard output, standard error)."""

    def go(*words: object, model: bool = True) -> tuple[int, str, str]:
        words = tuple(map(str, words))
        scale = int(words[words.index("--scale") + 1]) if "--scale" in words else 2  # type: ignore[call-overload]
        more = ("--model", str(repeat[scale]), "--precision", "float32") if model else ()
        try:
            code = main([*words, *more])  # type: ignore[list-item]
        except SystemExit as left:  # argparse's way
            code = int(left.code or 0)
        return code, *capsys.readouterr()

    return go


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Clip(pts=range(15), bframes=2, sounds=[Sound(language="deu")]).write(tmp_path / "in.mp4")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --- what it does ---------------------------------------------------------------------------------------------------


def test_a_file(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    code, out, err = vsr_run(clip, tmp_path / "out.mp4")
    assert (code, out) == (0, "")
    assert "15 frames at" in err
    assert f"{tmp_path / 'out.mp4'}: verified (15 frames, every pts; 96x64" in err
    assert names(tmp_path) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("sample", "15 of 15 frames decoded and seen to be right)"),
        ("full", "1 sound track decoded)"),
        ("none", "not verified (--verify none)"),
    ],
)
def test_how_much_is_verified_is_said(vsr_run: Run, clip: Path, tmp_path: Path, mode: str, said: str) -> None:
    code, _, err = vsr_run(clip, tmp_path / "out.mp4", "--verify", mode)
    assert code == 0
    assert said in err
    assert ("verified (15" in err) == (mode != "none")


def test_quiet_says_nothing(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    assert vsr_run(clip, tmp_path / "out.mp4", "--quiet") == (0, "", "")


def test_without_output_there_must_be_a_sink(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    assert vsr_run(clip)[0] == 2
    code, out, err = vsr_run(clip, "--sink", "null")
    assert (code, out) == (0, "")
    assert "15 frames at" in err
    assert names(tmp_path) == ["in.mp4"]


def test_md5_is_of_what_a_program_gets(vsr_run: Run, clip: Path, repeat: dict[int, Path]) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    for frame in vsr.upscaled_frames(clip, model=repeat[2], precision="float32"):
        digest.update(f"{frame.pts} {frame.width}x{frame.height} {frame.format.pix_fmt}\n".encode())
        for plane in frame.planes:
            digest.update(plane.tobytes())
    assert vsr_run(clip, "--sink", "md5", "--quiet") == (0, f"{digest.hexdigest()}\n", "")


def test_what_stands_still_is_not_computed_again(vsr_run: Run, tmp_path: Path) -> None:
    """The same frames with and without, and how much that spared is said."""
    still, digests = tmp_path / "still.y4m", set()
    picture = b"FRAME\n" + bytes(range(96)) * 96
    still.write_bytes(b"YUV4MPEG2 W96 H64 F25:1 C420jpeg\n" + picture * 20)
    for mode, reused in (("off", 0.0), ("auto", 0.95), ("frames", 0.95), ("tiles", 0.95)):
        report = tmp_path / f"{mode}.json"
        code, out, err = vsr_run(still, "--sink", "md5", "--reuse", mode, "--report", report)
        content = json.loads(report.read_text())
        assert (code, content["reused"]) == (0, reused)
        assert ("95% unchanged and not computed again" in err) == (reused > 0)
        digests.add(out)
    assert len(digests) == 1


def test_options_of_the_encoder(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    words = ("--codec", "libx265", "--crf", "30", "--preset", "ultrafast", "--pix-fmt", "yuv420p10le")
    code, _, err = vsr_run(clip, tmp_path / "out.mkv", *words, "-x", "x265-params=log-level=error:keyint=5")
    assert code == 0
    assert "stored as yuv420p10le (input yuv420p)" in err
    track = video(tmp_path / "out.mkv")
    assert (track.codec, track.keys.count(True)) == ("hevc", 3)


def test_notes_are_said_before_and_after(vsr_run: Run, tmp_path: Path) -> None:
    source = Clip(codec="ffv1", size=(47, 33), subtitles=["eng"]).write(tmp_path / "in.mkv")
    code, _, err = vsr_run(source, tmp_path / "out.mp4", "--scale", 3)
    lines = err.splitlines()
    assert code == 0
    assert lines[0] == "converted: subtitle track 1, srt (eng) can't be stored in mp4: to mov_text"
    assert lines[1] == "libx264 takes even sizes only: 142x100 with the edge repeated"
    assert any("47x33" in line and "repeat_x3 openvino" in line for line in lines[2:])  # which engine was opened


@pytest.mark.parametrize(("time", "first"), [("0:00.2", 5), ("00:00:00.4", 10), ("0.52", 13)])
def test_times_as_people_write_them(vsr_run: Run, clip: Path, tmp_path: Path, time: str, first: int) -> None:
    assert vsr_run(clip, tmp_path / "out.mp4", "--start", time)[0] == 0
    assert len(frames(tmp_path / "out.mp4")) == 15 - first


def test_overwrite_replaces(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"old")
    assert vsr_run(clip, tmp_path / "out.mp4", "--overwrite")[0] == 0
    assert len(frames(tmp_path / "out.mp4")) == 15


def test_the_report(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert vsr_run(clip, tmp_path / "out.mp4", "--report", report)[0] == 0
    content = json.loads(report.read_text())
    assert content["version"] == 1
    assert content["exit_code"] == content["damaged_packets"] == 0
    assert content["frames_decoded"] == content["frames_upscaled"] == content["frames_written"] == 15
    assert content["packets_copied"] == len(tracks(clip)[1].times)
    assert content["media_seconds"] == pytest.approx(0.6)
    assert content["verified"][0] == "15 frames, every pts"
    assert {"decode", "copy in", "network", "encode", "mux", "verify"} <= content["stages"].keys()
    assert content["fps"] == pytest.approx(15 / content["seconds"], rel=0.01)


def test_json_lines(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    code, out, err = vsr_run(clip, tmp_path / "out.mp4", "--json", "--quiet")
    assert (code, err) == (0, "")
    *_, last = [json.loads(line) for line in out.splitlines()]
    assert (last["progress"], last["frame"], last["frames"], last["version"]) == ("end", 15, 15, 1)
    assert last["out_time_us"] == pytest.approx(600_000, abs=2)
    assert (last["dup_frames"], last["drop_frames"]) == (0, 0)
    assert last["report"]["exit_code"] == 0


def test_json_says_how_it_failed(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").mkdir()
    job = probe(RunSettings.of(input=str(clip), output="", sink="null", network="m4c8"))
    stream, ticks = io.StringIO(), iter(range(100))
    progress = JsonLines(job, stream, lambda: next(ticks) * 0.2)

    def fail() -> None:
        with progress:
            for done in range(1, 6):
                progress(Report(frames_upscaled=done))
            raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        fail()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["progress"] for line in lines[:-1]] == ["continue"] * len(lines[:-1])
    assert 1 <= len(lines[:-1]) < 5  # not one for every frame
    assert (lines[-1]["progress"], lines[-1]["error"]) == ("end", "lost")


def test_the_bar_survives_a_run_of_unknown_length(clip: Path) -> None:
    from dataclasses import replace

    job = probe(RunSettings.of(input=str(clip), output="", sink="null", network="m4c8"))
    for one in (job, replace(job, source=replace(job.source, frames=None))):
        with Bar(one) as bar:
            bar(Report(frames_upscaled=3, media_seconds=0.1))
    with silent() as nothing:
        assert nothing is None


def test_dry_run_writes_nothing(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    code, out, err = vsr_run(clip, tmp_path / "out.mp4", "--dry-run")
    assert code == 0
    assert re.fullmatch(r"about \d+ s at [0-9.]+ fps, 0.0 MB, 0.0 MB on disk while it is made\n", err)
    content = json.loads(out)
    assert content["job"]["encoder"]["codec"] == "libx264"
    assert content["estimate"]["timed_frames"] == 15
    assert content["estimate"]["seconds"] >= 0
    assert names(tmp_path) == ["in.mp4"]
    vsr_run(clip, tmp_path / "out.mp4")
    coded = sum(map(len, video(tmp_path / "out.mp4").payloads))
    assert content["estimate"]["bytes"] == pytest.approx(coded, abs=2 * 15)  # MP4's start codes differ


def test_a_dry_run_into_nothing(vsr_run: Run, clip: Path) -> None:
    code, out, _ = vsr_run(clip, "--dry-run")
    assert code == 0
    assert json.loads(out)["estimate"]["bytes"] is None


def test_no_samples_into_a_terminal(clip: Path) -> None:
    master, terminal = os.openpty()
    with os.fdopen(master), os.fdopen(terminal, "wb") as screen:
        done = subprocess.run([*PYTHON, str(clip), "-"], stdout=screen, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 2
    assert b"standard output is a terminal" in done.stderr


def test_what_is_written_and_by_what_is_said_at_the_start(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    lines = vsr_run(clip, tmp_path / "out.mp4", "--crf", 20)[2].splitlines()
    assert lines[0] == "to 96x64 yuv420p by libx264 preset=veryfast crf=20"
    assert lines[1].startswith("yuv420p 48x32: repeat_x2 openvino cpu float32")


def test_the_network_is_said_with_the_first_frame(clip: Path, repeat: dict[int, Path]) -> None:
    settings = RunSettings.of(input=str(clip), output="", sink="null", model=repeat[2])
    told: list[bool] = []
    run(probe(settings), settings, lambda report: told.append(any("openvino" in note for note in report.notes)))
    assert told == [True] * 15


def test_options_may_stand_between_the_names(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    assert vsr_run(clip, "--scale", 3, tmp_path / "out.mp4")[0] == 0
    assert frames(tmp_path / "out.mp4")[0].size == (144, 96)


def test_damage_is_exit_code_5(vsr_run: Run, tmp_path: Path) -> None:
    whole = Clip(pts=range(40), gop=8, bframes=2, sounds=[Sound()]).write(tmp_path / "whole.mp4")
    source = damaged(whole, tmp_path / "in.mp4", flips=25, keep=1500)
    code, _, err = vsr_run(source, tmp_path / "out.mp4")
    assert code == 5
    assert "damaged: " in err
    assert f"vsr-run: {source}: damaged in " in err
    assert vsr_run(source, "--sink", "null", "--quiet")[2].count("\n") == 1  # said even so
    assert "verified (" in err
    assert len(frames(tmp_path / "out.mp4")) >= 20


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["missing.mp4", "out.mp4"], 3, "no such file"),
        (["empty.mp4", "out.mp4"], 3, "the file is empty"),
        (["text.mp4", "out.mp4"], 3, "can't be read as video"),
        (["in.mp4", "in.mp4"], 4, "is the input itself"),
        (["in.mp4", "hard.mp4", "--overwrite"], 4, "is the input itself"),
        (["in.mp4", "soft.mp4", "--overwrite"], 4, "is the input itself"),
        (["in.mp4", "there.mp4"], 4, "exists already (--overwrite replaces it once the new file is verified)"),
        (["in.mp4", "folder"], 4, "is a folder"),
        (["in.mp4", "none/out.mp4"], 4, "no such folder"),
        (["in.mp4", "/proc/out.mp4"], 4, "can't"),
        (["in.mp4", "out.xyz"], 2, "unknown container"),
        (["in.mp4", "out.mp4", "--size", "48x32"], 2, "is not larger"),
        (["in.mp4", "out.mp4", "--size", "1000x32"], 2, "more than 4 times"),
        (["in.mp4", "out.mp4", "--height", "0"], 2, "at least 1"),
        (["in.mp4", "out.mp4", "--start", "7"], 2, "past the end"),
        (["in.mp4", "out.mp4", "--start", "-1"], 2, "must not be negative"),
        (["in.mp4", "out.mp4", "--codec", "nothing"], 2, "no encoder named nothing"),
        (["in.mp4", "out.mp4", "-x", "tune=nothing"], 2, "libx264 refuses"),
        (["in.mp4", "out.mp4", "-x", "tunne=film"], 2, "libx264 has no option tunne"),
        (["in.mp4", "out.mkv", "--codec", "ffv1", "--crf", "9"], 2, "ffv1 has no --crf: it is lossless"),
        (["in.mp4", "out.mp4", "--preset", "instant"], 2, "libx264 refuses"),
        (["in.mp4", "out.mp4", "--pix-fmt", "rgb24"], 2, "can't store rgb24"),
        (["in.mp4", "out.mp4", "--report", "none/report.json"], 4, "no such folder for the report"),
        (["in.mp4"], 2, "name an output (or --sink null|md5|y4m, --dry-run)"),
        (["in.mp4", ""], 2, "is empty"),
        (["", "out.mp4"], 2, "is empty"),
        (["folder", "out"], 2, "no videos or pictures inside"),
        (["in.mp4", "out.png"], 2, "unknown container"),
        (["in.mp4", "out.png", "--preview", "9"], 2, "past the end"),
        (["in.mp4", "out.mp4", "--preview", "0"], 2, "--preview writes a PNG"),
    ],
)
def test_one_line_and_an_exit_code(
    vsr_run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hard.mp4").hardlink_to(clip)
    (tmp_path / "soft.mp4").symlink_to(clip)
    (tmp_path / "there.mp4").write_bytes(b"old")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_bytes(b"words\n" * 99)
    (tmp_path / "folder").mkdir()
    before, data = names(tmp_path), clip.read_bytes()
    got, out, err = vsr_run(*words)
    assert (got, out) == (code, "")
    *before_it, line = err.splitlines()
    assert line.startswith("vsr-run: ")
    assert reason in line
    assert all(said.startswith("to 96x64 yuv420p by libx264") for said in before_it)
    assert names(tmp_path) == before
    assert clip.read_bytes() == data
    assert (tmp_path / "there.mp4").read_bytes() == b"old"


@pytest.mark.parametrize(
    "words",
    [
        ["--scale", "5"],
        ["--scale", "2", "--height", "64"],
        ["--size", "96x64", "--height", "64"],
        ["--size", "100"],
        ["--size", "-1x4"],
        ["--start", "soon"],
        ["--start", "nan"],
        ["--duration", "inf"],
        ["--memory", "many"],
        ["--memory", "inf"],
        ["-x", "novalue"],
        ["--sink", "png"],
        ["--nothing"],
    ],
)
def test_words_that_mean_nothing(vsr_run: Run, clip: Path, words: list[str]) -> None:
    code, out, err = vsr_run(clip, "out.mp4", *words, model=False)
    assert (code, out) == (2, "")
    assert err.startswith("vsr-run: ")
    assert err.endswith("(see vsr-run --help)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--network", "nothing"], "no network 'nothing'; known: "),
        (["--model", "missing.onnx"], "No such file"),
        (["--network", "m4c8", "--model", "x.onnx"], "not both"),
        (["--threads", "-1"], "must not be negative"),
    ],
)
def test_networks_that_do_not_exist(vsr_run: Run, clip: Path, tmp_path: Path, words: list[str], reason: str) -> None:
    code, out, err = vsr_run(clip, tmp_path / "out.mp4", *words, model=False)
    assert (code, out) in ((2, ""), (3, ""))
    assert reason in err
    assert err.count("\n") == 1
    assert names(tmp_path) == ["in.mp4"]


def test_a_report_that_cannot_be_written(vsr_run: Run, clip: Path, tmp_path: Path) -> None:
    code, _, err = vsr_run(clip, tmp_path / "out.mp4", "--report", tmp_path, "--quiet")
    assert code == 4
    assert "the report can't be written" in err
    assert len(frames(tmp_path / "out.mp4")) == 15


def test_debug_shows_where(vsr_run: Run, tmp_path: Path) -> None:
    code, _, err = vsr_run(tmp_path / "missing.mp4", tmp_path / "out.mp4", "--debug")
    assert code == 3
    assert "Traceback" in err
    assert err.splitlines()[-1].endswith("no such file")


# --- as a program ---------------------------------------------------------------------------------------------------


def program(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PYTHON, *map(str, words)], capture_output=True, timeout=60, check=False, **options)


def test_y4m_through_pipes(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source = Clip(pts=range(8), aspect=Fraction(4, 3), options={"qp": "0"}).write(tmp_path / "in.mp4")
    model = ("--model", repeat[2], "--precision", "float32", "--quiet")
    first = program(source, "-", *model)
    assert (first.returncode, first.stderr) == (0, b"")
    assert first.stdout.startswith(b"YUV4MPEG2 W96 H64 F25:1 Ip A4:3 C420")
    second = program("-", "-", *model, input=first.stdout)
    assert (second.returncode, second.stderr) == (0, b"")
    target = tmp_path / "out.mkv"
    third = program("-", target, *model, "--codec", "ffv1", input=second.stdout)
    assert (third.returncode, third.stdout, third.stderr) == (0, b"", b"")
    assert [frame.time for frame in frames(target)] == [Fraction(n, 25) for n in range(8)]
    assert frames(target)[0].size == (512, 256)  # this codec keeps no aspect in Matroska: pixels were made square
    target = tmp_path / "out.mp4"
    assert program("-", target, *model, "--crf", "0", input=second.stdout).returncode == 0
    for one, other in zip(frames(source), frames(target), strict=True):
        assert np.array_equal(other.planes[0], one.planes[0].repeat(8, 0).repeat(8, 1))


def test_a_part_of_a_pipe(tmp_path: Path, repeat: dict[int, Path]) -> None:
    pipe = Clip(codec="wrapped_avframe", pts=range(20)).write(tmp_path / "in.y4m").read_bytes()
    words = ("--model", repeat[2], "--start", "0.2", "--duration", "0.4", "--quiet")
    ran = program("-", tmp_path / "out.mp4", *words, input=pipe)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert [frame.time for frame in frames(tmp_path / "out.mp4")] == [Fraction(n, 25) for n in range(10)]


@pytest.mark.parametrize(
    ("pipe", "code", "reason"),
    [
        (b"", 3, b"is not y4m"),
        (b"YUV4MPEG2 W16 H16 F25:1 Ip\n", 3, b"no frame"),
        (b"YUV4MPEG2 W16 H16 F25:1 Ip\nFRAME\n" + bytes(384) + b"FRAME\n" + bytes(9), 5, b"y4m ends inside frame 1"),
    ],
)
def test_pipes_that_end_early(tmp_path: Path, pipe: bytes, code: int, reason: bytes) -> None:
    ran = program("-", tmp_path / "out.mp4", "--network", "m4c8", input=pipe)
    assert (ran.returncode, reason in ran.stderr) == (code, True)
    assert b"Traceback" not in ran.stderr
    assert names(tmp_path) == (["out.mp4"] if code == 5 else [])


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    source = Clip(pts=range(200), size=(64, 64)).write(tmp_path / "in.mp4")
    words = [*PYTHON, str(source), "-", "--network", "m4c8", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1000)
        running.stdout.close()
        err = running.stderr.read()
        assert running.wait(60) == 4
    assert err == b"vsr-run: the program reading the pipe has ended\n"


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "hung up")],
)
def test_a_signal_in_the_first_chunk_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    source = Clip(pts=range(1500), size=(64, 64), sounds=[Sound(seconds=Fraction(5))]).write(tmp_path / "in.mp4")
    words = [*PYTHON, str(source), str(tmp_path / "out.mp4"), "--network", "m4c8", "--quiet"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        growing(running, tmp_path, 9000)
        running.send_signal(number)
        assert running.stderr is not None
        err = running.stderr.read()
        assert running.wait(60) == code
    assert err == f"vsr-run: {word}; nothing was written\n"
    assert names(tmp_path) == ["in.mp4"]


def growing(running: subprocess.Popen[Any], folder: Path, size: int) -> None:
    """Waits until a chunk has this many bytes."""
    while not any(chunk.stat().st_size >= size for chunk in folder.glob(".*.vsr/*.packets")):
        assert running.poll() is None
        time.sleep(0.005)


def test_a_folder_stops_at_a_signal(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        Clip(pts=range(700), size=(64, 64)).write(tmp_path / "in" / f"{number}.mp4")
    words = [*PYTHON, str(tmp_path / "in"), str(tmp_path / "out"), "--network", "m4c8"]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as running:
        growing(running, tmp_path / "out", 1)
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        running.stderr.read()
        assert running.wait(60) == 143
    assert names(tmp_path / "out") == []


def test_a_full_disk(tmp_path: Path) -> None:
    source = Clip(pts=range(40), size=(96, 96)).write(tmp_path / "in.mp4")
    limit = (6000, 6000)
    ran = program(
        source, tmp_path / "out.mp4", "--network", "m4c8", "--quiet", "--crf", "1",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit), env=os.environ | {"VSR_CACHE": "/proc"},
    )  # fmt: skip
    assert ran.returncode == 4
    assert ran.stderr.count(b"\n") == 1
    assert b"can't be written (" in ran.stderr
    assert names(tmp_path) == ["in.mp4"]


# --- real clips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target", "code"),
    [
        ("media/torchcodec_nasa_13013_rotated.mp4", "out.mp4", 0),
        ("media/androidx_sample_with_chapters.mkv", "out.mkv", 0),
        ("media/nemo_bear-vp9-odd-dimensions.webm", "out.webm", 0),
        ("broken/openh264_Error_I_P.264", "out.mp4", 5),
    ],
)
def test_real_clips(vsr_run: Run, data: Path, tmp_path: Path, name: str, target: str, code: int) -> None:
    source, after = data / "video" / name, tmp_path / target
    if not source.is_file():
        pytest.skip(f"no {source}")
    words = ("--duration", "1") if code == 0 else ()
    got, _, err = vsr_run(source, after, *words)
    assert got == code, err
    assert "verified (" in err
    kept = {track.kind for track in tracks(after)}
    assert kept == {track.kind for track in tracks(source)}
