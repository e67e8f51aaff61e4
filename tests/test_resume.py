"""Runs that end early and go on: the file is the one an unbroken run writes, whatever was lost on the way."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import vsr
from clips import Clip, Sound, damaged, end_of_picture, frames, tracks, uneven, video
from vsr.errors import InputError, Interrupted, OutputError, VerificationError
from vsr.pipeline import run
from vsr.probe import probe
from vsr.report import Report
from vsr.resume import folder_name, work_folder
from vsr.settings import RunSettings

MS = Fraction(1, 1000)
PYTHON = (sys.executable, "-c", "import sys; from vsr.cli.run import main; sys.exit(main())")
CLIP = Clip(
    size=(64, 64),
    pts=uneven(90, step=20),
    time_base=MS,
    last=70,
    bframes=2,
    gop=10,
    sounds=[Sound(seconds=Fraction(3))],
)


class Lost(Exception):
    """A crash."""


def after_frames(count: int, error: BaseException) -> Callable[[Report], None]:
    def progress(report: Report) -> None:
        if report.frames_upscaled == count:
            raise error

    return progress


@pytest.fixture
def go(tmp_path: Path, repeat: dict[int, Path]) -> Callable[..., Report]:
    """One run of in.mp4 to out.mp4 in short chunks."""

    def go(progress: Callable[[Report], None] = lambda report: None, **options: Any) -> Report:
        stop = options.pop("stop", lambda: 0)
        given = {"input": str(tmp_path / "in.mp4"), "output": str(tmp_path / "out.mp4"), "chunk": 0.5}
        settings = RunSettings.of(**{**given, "model": repeat[2], "precision": "float32"} | options)
        return run(probe(settings), settings, progress, stop=stop)

    return go


@pytest.fixture
def unbroken(tmp_path: Path, go: Callable[..., Report]) -> bytes:
    """The bytes of the output of a run that nothing disturbs."""
    CLIP.write(tmp_path / "in.mp4")
    go(output=str(tmp_path / "whole.mp4"))
    whole = tmp_path / "whole.mp4"
    content = whole.read_bytes()
    whole.unlink()
    return content


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def chunks_kept(folder: Path) -> int:
    return len(list((folder / ".out.mp4.vsr").glob("0*.json")))


@pytest.mark.parametrize("count", [1, 17, 40, 41, 66, 89, 90])
def test_a_crash_at_any_frame(tmp_path: Path, go: Callable[..., Report], unbroken: bytes, count: int) -> None:
    with pytest.raises(Lost):
        go(after_frames(count, Lost()))
    kept = chunks_kept(tmp_path)
    assert (kept > 0) == (count > 20)  # frames in the first chunk
    report = go()
    assert (tmp_path / "out.mp4").read_bytes() == unbroken
    assert names(tmp_path) == ["in.mp4", "out.mp4"]
    assert any(note.startswith(f"went on from an interrupted run: {kept} of") for note in report.notes) == bool(kept)
    assert report.frames_upscaled == report.frames_written == 90
    assert (report.frames_resumed > 0) == bool(kept)


def test_crash_upon_crash(tmp_path: Path, go: Callable[..., Report], unbroken: bytes) -> None:
    for count in (30, 45, 46, 75):
        with pytest.raises(Lost):
            go(after_frames(count, Lost()))
    go()
    assert (tmp_path / "out.mp4").read_bytes() == unbroken


def test_what_is_kept_isnt_done_again(tmp_path: Path, go: Callable[..., Report], unbroken: bytes) -> None:
    with pytest.raises(Lost):
        go(after_frames(80, Lost()))
    seen: list[int] = []
    report = go(lambda report: seen.append(report.frames_upscaled))
    assert len(seen) == 90 - report.frames_resumed < 60
    assert report.frames_decoded < 70  # what leads in is decoded again, the rest isn't


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "00001.packets").unlink(),
        lambda folder: (folder / "00001.packets").write_bytes(b""),
        lambda folder: (folder / "00001.packets").write_bytes((folder / "00001.packets").read_bytes()[:-1] + b"x"),
        lambda folder: (folder / "00000.json").write_text("{"),
        lambda folder: (folder / "00000.json").unlink(),
        lambda folder: (folder / "00002.json").write_text('{"packets": [[1]], "sha256": 3}'),
        lambda folder: (folder / "job.json").write_text("not JSON"),
        lambda folder: (folder / "job.json").unlink(),
        lambda folder: (folder / "part").write_bytes(b"half a file"),
    ],
)
def test_a_spoilt_work_folder_is_mended(
    tmp_path: Path, go: Callable[..., Report], unbroken: bytes, spoil: Callable[[Path], Any]
) -> None:
    with pytest.raises(Lost):
        go(after_frames(88, Lost()))
    assert chunks_kept(tmp_path) >= 3
    spoil(tmp_path / ".out.mp4.vsr")
    go()
    assert (tmp_path / "out.mp4").read_bytes() == unbroken
    assert names(tmp_path) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resume": "never"}, "what an interrupted run had left was deleted"),
        ({"crf": 30}, "started over: the interrupted run found was another job (it differs in encoder.options.crf"),
        ({"scale": 3}, "network.scale"),
        ({"chunk": 1.5}, "it differs in chunks"),
    ],
)
def test_another_job_starts_over_and_says_why(
    tmp_path: Path, go: Callable[..., Report], unbroken: bytes, options: dict[str, Any], said: str, repeat: Any
) -> None:
    with pytest.raises(Lost):
        go(after_frames(70, Lost()))
    if "scale" in options:
        options = options | {"model": repeat[3]}
    report = go(**options)
    assert report.frames_resumed == 0
    assert any(said in note for note in report.notes), report.notes
    assert len(frames(tmp_path / "out.mp4")) == 90


def test_another_input_of_the_same_name_starts_over(tmp_path: Path, go: Callable[..., Report]) -> None:
    CLIP.write(tmp_path / "in.mp4")
    with pytest.raises(Lost):
        go(after_frames(70, Lost()))
    Clip(size=(64, 64), pts=range(60), gop=10).write(tmp_path / "in.mp4")
    report = go()
    assert any("differs in source." in note for note in report.notes)
    assert len(frames(tmp_path / "out.mp4")) == 60


def test_an_input_that_changes_meanwhile(tmp_path: Path, go: Callable[..., Report]) -> None:
    source = CLIP.write(tmp_path / "in.mp4")
    with pytest.raises(InputError, match=r"in.mp4: changed while it was read, nothing was written"):
        go(lambda report: os.utime(source, (1, report.frames_upscaled)))
    assert names(tmp_path) == ["in.mp4"]


def test_an_input_that_goes_away(tmp_path: Path, go: Callable[..., Report]) -> None:
    source = CLIP.write(tmp_path / "in.mp4")
    with pytest.raises(InputError):
        go(lambda report: source.unlink(missing_ok=True))
    assert names(tmp_path) == []


def test_two_runs_at_once(tmp_path: Path, go: Callable[..., Report], unbroken: bytes) -> None:
    def another(report: Report) -> None:
        if report.frames_upscaled == 40:
            with pytest.raises(OutputError, match=r"out\.mp4: another vsr-run is writing it"):
                go()

    go(another)
    assert (tmp_path / "out.mp4").read_bytes() == unbroken


def test_a_folder_that_comes_and_goes_is_one_runs_alone(tmp_path: Path, repeat: dict[int, Path]) -> None:
    """The lock goes with its folder: a run that had opened it just before must not take it for its own."""
    source = Clip().write(tmp_path / "in.mp4")
    job = probe(RunSettings.of(input=str(source), output=str(tmp_path / "out.mp4"), model=repeat[2]))
    inside, most = list[int](), list[int]()

    def again(number: int) -> None:
        while len(most) < 40:
            with suppress(OutputError), work_folder(job, "auto", Report()) as work:
                inside.append(number)
                most.append(len(inside))
                assert names(work.path) == ["job.json", "lock"]
                inside.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(again, range(4)))
    assert max(most) == 1
    assert names(tmp_path) == ["in.mp4"]


def test_damage_is_counted_once_over_both_runs(tmp_path: Path, go: Callable[..., Report]) -> None:
    """How a decoder conceals damage depends on all it decoded before, so pictures may differ there."""
    whole = Clip(size=(64, 64), pts=range(90), gop=10, bframes=2).write(tmp_path / "whole.mp4")
    damaged(whole, tmp_path / "in.mp4", flips=9, seed=2, keep=2000)
    report = go()
    assert report.damaged_packets > 3
    (tmp_path / "out.mp4").rename(tmp_path / "first.mp4")
    with pytest.raises(Lost):
        go(after_frames(60, Lost()))
    again = go()
    assert again.frames_resumed > 0
    assert sorted(again.damage) == sorted(report.damage)
    assert again.exit_code == 5
    assert video(tmp_path / "first.mp4").times == video(tmp_path / "out.mp4").times


def test_open_groups_of_pictures_go_on_alike(tmp_path: Path, go: Callable[..., Report]) -> None:
    """Frames shown before a key frame and coded after it refer to both sides of the cut."""
    clip = Clip(
        codec="libx265", size=(64, 64), pts=range(90), bframes=3, options={"x265-params": "open-gop=1:keyint=12"}
    )
    clip.write(tmp_path / "in.mp4")
    go()
    (tmp_path / "out.mp4").rename(tmp_path / "first.mp4")
    for count in (50, 85):
        with pytest.raises(Lost):
            go(after_frames(count, Lost()))
    assert go().frames_resumed > 0
    assert (tmp_path / "first.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_part_of_a_video_goes_on_alike(tmp_path: Path, go: Callable[..., Report]) -> None:
    CLIP.write(tmp_path / "in.mp4")
    part = {"start": 0.9, "duration": 2.1}
    whole = go(**part)
    (tmp_path / "out.mp4").rename(tmp_path / "first.mp4")
    with pytest.raises(Lost):
        go(after_frames(whole.frames_written - 2, Lost()), **part)
    assert go(**part).frames_resumed > 0
    assert (tmp_path / "first.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_an_interruption_says_what_is_kept_and_how_to_go_on(tmp_path: Path, go: Callable[..., Report]) -> None:
    CLIP.write(tmp_path / "in.mp4")
    words = r"interrupted; [2-9] of [4-9] chunks are kept in .*/\.out\.mp4\.vsr \(.* MB\); the same command goes on"
    with pytest.raises(Interrupted, match=words) as stopped:
        go(after_frames(80, Interrupted("interrupted", signum=2)))
    assert stopped.value.exit_code == 130
    assert names(tmp_path) == [".out.mp4.vsr", "in.mp4"]


def test_chunks_of_an_output_found_wrong_are_not_kept(tmp_path: Path, go: Callable[..., Report]) -> None:
    CLIP.write(tmp_path / "in.mp4")
    with pytest.raises(VerificationError):
        go(after_frames(80, VerificationError("wrong")))
    assert names(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("count", [3, 66, 90])
def test_the_playable_part(tmp_path: Path, go: Callable[..., Report], unbroken: bytes, count: int, suffix: str) -> None:
    """--partial: asked to stop, the run writes what it did as a verified file of its own; it can still go on."""
    done = 0

    def count_up(report: Report) -> None:
        nonlocal done
        done = report.frames_upscaled

    with pytest.raises(Interrupted, match=rf"stopped; .*out\.partial\{suffix} has what was done; .*"):
        go(count_up, output=str(tmp_path / f"out{suffix}"), partial=True, stop=lambda: 15 * (done >= count))
    part = tmp_path / f"out.partial{suffix}"
    before, after = sorted(video(tmp_path / "in.mp4").times), sorted(video(part).times)
    assert len(after) == count
    shift = after[0] - before[0]
    assert max(abs(b - a - shift) for a, b in zip(before, after, strict=False)) <= MS
    sound = next(track for track in tracks(part) if track.kind == "audio")
    assert abs(max(sound.times) - min(after[-1], Fraction(3))) < Fraction(1, 5)
    if suffix == ".mp4":
        assert end_of_picture(part) == (CLIP.pts[count] if count < 90 else CLIP.pts[-1] + CLIP.last) * MS
        go()
        assert (tmp_path / "out.mp4").read_bytes() == unbroken
    assert not (tmp_path / "out.mp4").exists() or suffix == ".mp4"


def test_a_partial_file_that_is_there_is_not_replaced(tmp_path: Path, go: Callable[..., Report]) -> None:
    CLIP.write(tmp_path / "in.mp4")
    (tmp_path / "out.partial.mp4").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"out\.partial\.mp4: exists already"):
        go(partial=True)
    assert (tmp_path / "out.partial.mp4").read_bytes() == b"mine"


def test_names_as_long_as_the_file_system_allows(tmp_path: Path, go: Callable[..., Report]) -> None:
    CLIP.write(tmp_path / "in.mp4")
    name = "ä" * 125 + ".mp4"
    assert len(os.fsencode(name)) == 254
    go(output=str(tmp_path / name))
    assert names(tmp_path) == ["in.mp4", name]
    assert len(os.fsencode(folder_name(name).name)) <= 255


def test_a_pipe_is_not_gone_on_with(tmp_path: Path, repeat: dict[int, Path]) -> None:
    """Nobody can tell whether what comes out of it is the same again."""
    CLIP.write(tmp_path / "in.mp4")
    settings = RunSettings.of(input=str(tmp_path / "in.mp4"), output=str(tmp_path / "out.mp4"), model=repeat[2])
    job = probe(settings)
    from dataclasses import replace

    piped = replace(job, source=replace(job.source, bytes=0, modified_ns=0))
    for _ in range(2):
        with pytest.raises(Lost), work_folder(piped, "auto", Report()) as work:  # noqa: PT012
            assert work.missing() == [job.chunks]
            work.finish(work.store(job.chunks[0], iter(()), Report()))
            raise Lost
        assert names(tmp_path) == ["in.mp4"]


def program(folder: Path, output: str = "out.mp4", *more: str) -> list[str]:
    words = [str(folder / "in.mp4"), str(folder / output), "--network", "m4c8", "--chunk", "1", *more]
    return [*PYTHON, *words]


LONG = Clip(
    size=(96, 64), pts=range(700), bframes=2, gop=25, sounds=[Sound(seconds=Fraction(28))], subtitles=[], language="deu"
)


def test_killed_at_25_random_moments(tmp_path: Path) -> None:
    """kill -9, again and again: in the end the file is byte for byte that of an unbroken run."""
    LONG.write(tmp_path / "in.mp4")
    begin = time.monotonic()
    subprocess.run(program(tmp_path, "whole.mp4"), check=True, capture_output=True)
    whole, takes = (tmp_path / "whole.mp4").read_bytes(), time.monotonic() - begin
    moments, killed, resumed, output = random.Random(3), 0, 0, tmp_path / "out.mp4"
    while killed < 25:
        begin = time.monotonic()
        with subprocess.Popen(program(tmp_path), stderr=subprocess.PIPE, text=True) as running:
            try:
                running.wait(moments.uniform(0.2, 1.2) * takes)
                takes = min(takes, time.monotonic() - begin)  # the first run may have had a busier machine
            except subprocess.TimeoutExpired:
                running.kill()
                killed += 1
            assert running.stderr is not None
            resumed += "went on from an interrupted run" in running.stderr.read()
            assert running.wait() in (0, -signal.SIGKILL)
        assert not output.exists() or output.read_bytes() == whole  # never half a file under the final name
        if output.exists():
            output.unlink()
    subprocess.run(program(tmp_path), check=True, capture_output=True)
    assert output.read_bytes() == whole
    assert names(tmp_path) == ["in.mp4", "out.mp4", "whole.mp4"]
    assert resumed  # how often depends on how fast the machine is at each start


@pytest.mark.parametrize("more", [(), ("--partial",)])
def test_a_second_signal_stops_at_once(tmp_path: Path, more: tuple[str, ...]) -> None:
    LONG.write(tmp_path / "in.mp4")
    with subprocess.Popen(program(tmp_path, "out.mp4", *more), stderr=subprocess.PIPE) as running:
        while not (tmp_path / ".out.mp4.vsr" / "00001.json").exists():
            assert running.poll() is None
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        assert running.wait(60) in (130, 143)
        assert time.monotonic() - begin < 2
    assert not (tmp_path / "out.mp4").exists()
    subprocess.run(program(tmp_path), check=True, capture_output=True)
    assert len(frames(tmp_path / "out.mp4")) == 700


FULL = """
mount -t tmpfs -o size=300k tmpfs {folder} || exit 99
cp {clip} {folder}/in.mp4
{command} --crf 4
echo $?
ls -A {folder}
mount -o remount,size=30m {folder}
{command} --crf 4 --quiet
echo $?
ls -A {folder}
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """On a file system of 300 kB: one line, what is done is kept, and with more room the run goes on."""
    clip = Clip(size=(96, 64), pts=range(150), gop=25).write(tmp_path / "clip.mp4")
    folder = tmp_path / "small"
    folder.mkdir()
    command = " ".join(f"'{word}'" if " " in word else word for word in program(folder))
    script = FULL.format(folder=folder, clip=clip, command=command)
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True
    )
    if ran.returncode == 1 and not ran.stdout or ran.returncode == 99:
        pytest.skip("no file system may be mounted here")
    assert ran.stdout.split() == ["4", ".out.mp4.vsr", "in.mp4", "0", "in.mp4", "out.mp4"]
    assert "No space left on device" in ran.stderr
    kept = r"chunks are kept in .*\.out\.mp4\.vsr .*; the same command goes on from there \(about [0-9.]+ MB more"
    assert re.search(kept, ran.stderr)
    assert "the disk may run full" in ran.stderr


def test_what_the_folder_says(tmp_path: Path, go: Callable[..., Report]) -> None:
    CLIP.write(tmp_path / "in.mp4")
    with pytest.raises(Lost):
        go(after_frames(80, Lost()))
    manifest = json.loads((tmp_path / ".out.mp4.vsr" / "job.json").read_text())
    assert manifest["version"] == 1
    assert vsr.job.Job.from_json(json.dumps(manifest["job"])).hash() == manifest["hash"]
    table = json.loads((tmp_path / ".out.mp4.vsr" / "00001.json").read_text())
    assert [row[0] for row in table["packets"] if row[3]]  # a chunk has a key frame
