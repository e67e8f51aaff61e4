"""Chunks shared by lanes: the same file as by one, whatever happens on the way."""

from __future__ import annotations

import locale
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from clips import Clip
from vsr.chunks import Chunk
from vsr.device.protocol import DeviceError
from vsr.errors import InputError, Interrupted, VsrError
from vsr.lanes import Progress, Stop, each_gpu, shares, together, unused
from vsr.pipeline import run
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import EngineSettings, RunSettings

LIMIT = 30.0  # seconds a run that failed has to end


def chunk(index: int) -> Chunk:
    return Chunk(index=index, start=10 * index, end=10 * index + 10)


@pytest.mark.parametrize(
    ("missing", "count", "expected"),
    [
        ([(0, 1, 2, 3, 4)], 2, [[(0, 1, 2)], [(3, 4)]]),
        ([(0, 1), (4, 5), (7,)], 2, [[(0, 1), (4,)], [(5,), (7,)]]),
        ([(0, 1)], 3, [[(0,)], [(1,)]]),
        ([(2, 3)], 1, [[(2, 3)]]),
        ([], 2, []),
    ],
)
def test_shares(missing: list[tuple[int, ...]], count: int, expected: list[list[tuple[int, ...]]]) -> None:
    given = shares([tuple(map(chunk, run)) for run in missing], count)
    assert [[tuple(c.index for c in run) for run in share] for share in given] == expected


def test_one_lane_for_each_gpu() -> None:
    engine = EngineSettings(devices=(2, 0))
    assert [lane.devices for lane in each_gpu(engine)] == [(2,), (0,)]
    assert each_gpu(EngineSettings()) == [EngineSettings()]


def within(seconds: float, do: Callable[[], object]) -> None:
    """Raises what `do` raises, and fails where it doesn't end in time."""
    outcome: Future[object] = Future()

    def run() -> None:
        try:
            outcome.set_result(do())
        except BaseException as error:  # noqa: BLE001 - raised below
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    outcome.result(seconds)


def until_stopped(stop: Stop, work: Callable[[], None] = lambda: None) -> None:
    end = time.monotonic() + 2 * LIMIT
    while not stop() and time.monotonic() < end:  # nothing is left running where this test fails
        work()
        time.sleep(0.001)


def goes_on(report: Report, progress: Progress, stop: Stop) -> None:
    until_stopped(stop, lambda: progress(report))


def fails_later(report: Report, progress: Progress, stop: Stop) -> None:
    until_stopped(stop)
    raise InputError("something else")


def is_done(report: Report, progress: Progress, stop: Stop) -> None:
    pass


def is_slow(report: Report, progress: Progress, stop: Stop) -> None:
    time.sleep(0.2)  # as where a plan is built, nobody asks for a while
    until_stopped(stop)


@pytest.mark.parametrize("other", [goes_on, fails_later, is_done, is_slow], ids=lambda lane: lane.__name__)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_lane_that_fails_ends_the_run_whatever_the_other_does(
    other: Callable[[Report, Progress, Stop], None], first: bool
) -> None:
    def fails(report: Report, progress: Progress, stop: Stop) -> None:
        time.sleep(0.02)
        raise DeviceError("cuMemcpy: gone")

    lanes = [fails, other] if first else [other, fails]
    with pytest.raises(DeviceError, match="gone"):
        within(LIMIT, lambda: together(lanes, Report(), lambda report: None, lambda: 0))


def test_the_report_has_what_the_others_did_until_they_stopped() -> None:
    def fails(report: Report, progress: Progress, stop: Stop) -> None:
        raise DeviceError("cuMemcpy: gone")

    def works(report: Report, progress: Progress, stop: Stop) -> None:
        until_stopped(stop)
        time.sleep(0.05)
        report.frames_upscaled += 1

    total = Report()
    with pytest.raises(DeviceError):
        together([fails, works], total, lambda report: None, lambda: 0)
    assert total.frames_upscaled == 1


def test_what_one_lane_fails_of_ends_the_others() -> None:
    begun = threading.Barrier(2)

    def works(report: Report, progress: Progress, stop: Stop) -> int:
        begun.wait()
        while not stop():
            report.frames_upscaled += 1
            progress(report)
        return report.frames_upscaled

    def fails(report: Report, progress: Progress, stop: Stop) -> int:
        begun.wait()
        raise InputError("no such frame")

    total = Report(frames_upscaled=100)
    with pytest.raises(InputError, match="no such frame"):
        together([works, fails], total, lambda report: None, lambda: 0)
    assert total.frames_upscaled >= 100


def test_the_report_is_the_sum() -> None:
    seen: list[int] = []

    def lane(report: Report, progress: Progress, stop: Stop) -> None:
        for _ in range(5):
            report.frames_upscaled += 1
            progress(report)
        report.note("said by both")
        report.damaged("packet at pts 3")
        report.engine = "an engine"
        report.stages["network"] = 1.5

    total = Report(frames_upscaled=7, notes=["before"])
    together([lane, lane], total, lambda report: seen.append(report.frames_upscaled), lambda: 0)
    assert sorted(seen) == seen
    assert total.frames_upscaled == 17
    assert total.notes == ["before", "said by both"]
    assert (total.damaged_packets, total.engine, total.stages) == (1, "an engine", {"network": 3.0})


@pytest.fixture
def settings(tmp_path: Path, repeat: dict[int, Path]) -> RunSettings:
    source = Clip(pts=range(60), gop=6, bframes=2).write(tmp_path / "in.mp4")
    engine = EngineSettings(model=repeat[2], precision="float32", threads=1)
    return RunSettings(input=str(source), output=str(tmp_path / "one.mp4"), engine=engine, chunk=0.3, verify="full")


def test_two_lanes_write_the_same_file(settings: RunSettings, tmp_path: Path) -> None:
    job = probe(settings)
    assert len(job.chunks) > 3
    alone, encoding = run(job, settings), locale.getencoding()
    both = replace(settings, output=str(tmp_path / "two.mp4"))
    report = run(probe(both), both, engines=[both.engine, both.engine])
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    assert report.frames_written == alone.frames_written == 60
    assert report.frames_decoded >= 60
    assert report.engine == alone.engine
    assert locale.getencoding() == encoding


@pytest.mark.parametrize("count", [5, 45])
def test_lanes_stop_and_go_on(settings: RunSettings, tmp_path: Path, count: int) -> None:
    """What is before the first gap becomes the partial file; gone on with, the file is the same."""
    both, asked = replace(settings, output=str(tmp_path / "two.mp4"), partial=True), threading.Event()

    def ask(report: Report) -> None:
        if report.frames_upscaled >= count:
            asked.set()

    with pytest.raises(Interrupted, match="has what was done"):
        run(probe(both), both, ask, stop=lambda: 15 * asked.is_set(), engines=[both.engine, both.engine])
    (tmp_path / "two.partial.mp4").unlink()
    report = run(probe(both), both, engines=[both.engine, both.engine])
    assert any("went on" in line for line in report.notes) == (count > 40)
    run(probe(settings), settings)
    assert Path(both.output).read_bytes() == Path(settings.output).read_bytes()


@pytest.mark.parametrize("place", [0, 1])
def test_a_lane_that_cant_open_its_engine_ends_the_run(settings: RunSettings, tmp_path: Path, place: int) -> None:
    engines = [settings.engine, settings.engine]
    engines[place] = replace(settings.engine, model=tmp_path / "gone.onnx")
    job = probe(settings)
    with pytest.raises(VsrError, match=r"gone\.onnx"):
        within(LIMIT, lambda: run(job, settings, engines=engines))
    assert not Path(settings.output).exists()


@pytest.mark.parametrize("count", [1, 20, 59])
def test_a_lane_that_fails_in_the_middle_ends_the_run(settings: RunSettings, count: int) -> None:
    """And what was finished is gone on with."""
    job, engines = probe(settings), [settings.engine, settings.engine]

    def fails(report: Report) -> None:
        if report.frames_upscaled >= count:
            raise DeviceError(f"gone at {report.frames_upscaled}")

    with pytest.raises(DeviceError, match="gone at"):
        within(LIMIT, lambda: run(job, settings, fails, engines=engines))
    assert not Path(settings.output).exists()
    assert run(job, settings, engines=engines).frames_written == 60


def test_gpus_without_work_are_told() -> None:
    two = EngineSettings(devices=(0, 1))
    assert unused(two, "", 2) == unused(EngineSettings(), "null", 1) == []
    assert unused(two, "md5", 5) == ["only GPU 0 is used: this output isn't cut into chunks"]
    assert "1 chunk for 2" in unused(two, "", 1)[0]
