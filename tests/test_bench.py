"""vsr-bench on tiny clips: what it measures, what it writes, what it says when something can't be had."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import cv2
import pytest

import vsr
from slots import Repeating
from strong import frame, spec
from vsr.backends.choice import Engines
from vsr.backends.engine import Engine
from vsr.backends.gpu import Gpu, open_on_gpu
from vsr.backends.machine import Machine
from vsr.bench import clip, once
from vsr.bench.alone import FRAMES, timed
from vsr.bench.builds import Build, RunFailedError, process
from vsr.bench.compare import remarks
from vsr.bench.machine import machine
from vsr.bench.meters import Busy, Energy
from vsr.bench.once import Order, Outcome
from vsr.bench.result import Absent, Case, Measured, Result, Round, read
from vsr.bench.rounds import Plan, measure, stages, timeline
from vsr.bench.run import Matrix, bench
from vsr.cli.bench import main
from vsr.device.fake import FakeDevice
from vsr.errors import InputError
from vsr.graph import FrameSpec
from vsr.models import ModelChoice
from vsr.report import Report
from vsr.settings import EngineSettings

TINY = "64x48"
DONE = Round(fps=10.0, seconds=2.0, first_frame=1.0, peak_mib=100.0)


def matrix(**changed: object) -> Matrix:
    given = {"networks": ["m4c8"], "sizes": [TINY], "precisions": ["auto"], "threads": [1], "backends": ["auto"]}
    return Matrix(**{**given, "sinks": ["null"], **changed})  # type: ignore[arg-type]


def test_the_matrix_is_every_combination_once() -> None:
    cases = matrix(networks=["m4c8", "m4c16"], threads=[1, 2, 1], sinks=["null", "md5"]).cases()
    assert len(cases) == len(set(cases)) == 8


def test_rounds_are_interleaved_and_a_cold_start_comes_first() -> None:
    ran: list[str] = []

    def run(case: Case, clip: Path, cache: Path, number: int) -> list[tuple[Outcome, Round]]:
        ran.append(f"{case.network} {case.sink}")
        return [(Outcome(engine="fake", frames=8, spans=[("network", 0.0, 0.5)]), DONE)]

    cases = matrix(networks=["m4c8", "m4c16"], sinks=["null", "md5"]).cases()
    results, absent = measure(Plan(cases, {TINY: Path()}, 2, Path()), run)
    each = ["m4c8 null", "m4c8 md5", "m4c16 null", "m4c16 md5"]
    assert ran == ["m4c8 null", "m4c16 null", *each, *each]
    assert [len(measured.rounds) for (measured,) in results] == [2] * 4
    assert [measured.cold is not None for (measured,) in results] == [True, False, True, False]
    assert results[0][0].stages["network"].calls == 2
    assert not absent


def test_what_cannot_be_had_is_absent_and_other_errors_end_it() -> None:
    def run(case: Case, clip: Path, cache: Path, number: int) -> list[tuple[Outcome, Round]]:
        if case.network == "m4c8":
            raise RunFailedError("no such precision", code)
        return [(Outcome(frames=8), DONE)]

    plan = Plan(matrix(networks=["m4c8", "m4c16"], sinks=["null", "md5"]).cases(), {TINY: Path()}, 1, Path())
    code = 2
    results, absent = measure(plan, run)
    assert [measured.case.network for (measured,) in results] == ["m4c16", "m4c16"]
    assert [missing.why for missing in absent] == ["no such precision"] * 2
    code = 6
    with pytest.raises(RunFailedError):
        measure(plan, run)


def test_stages_have_percentiles_and_shares() -> None:
    spans = [("decode", n, n + 0.001) for n in range(99)] + [("decode", 99, 99.011), ("encode", 0.0, 0.11)]
    found = stages([spans])
    assert (found["decode"].calls, found["decode"].p50) == (100, pytest.approx(1))
    assert found["decode"].p99 > found["decode"].p95 == pytest.approx(1)
    assert [stage.share for stage in found.values()] == pytest.approx([0.5, 0.5])


def test_a_timeline_is_cut_from_the_middle() -> None:
    spans = [("decode", n / 10, n / 10 + 0.05) for n in range(100)]
    shown = timeline(spans)
    assert 0 <= min(begin for _, begin, _ in shown) <= max(end for _, _, end in shown) <= 500
    assert len(shown) == 5
    assert timeline([]) == []


def test_a_recorder_gets_every_stretch_of_a_stage() -> None:
    times, seen = iter([1.0, 2.5]), list[tuple[str, float, float]]()
    report = Report(clock=lambda: next(times), recorder=lambda *span: seen.append(span))
    with report.stage("encode"):
        pass
    assert seen == [("encode", 1.0, 2.5)]
    assert report.stages == {"encode": 1.5}
    assert "recorder" not in report.to_dict()


def test_energy_wraps_and_is_missing_where_it_may_not_be_read(tmp_path: Path) -> None:
    assert Energy.now(tmp_path) is None
    package = tmp_path / "intel-rapl:0"
    (tmp_path / "intel-rapl:0:0").mkdir()
    package.mkdir()
    assert Energy.now(tmp_path) is None
    readings = []
    for value in (900, 400):
        (package / "energy_uj").write_text(f"{value}\n")
        (package / "max_energy_range_uj").write_text("999\n")
        readings.append(Energy.now(tmp_path))
    assert readings[0]
    assert readings[1]
    assert readings[0].until(readings[1]) == pytest.approx(500e-6)


def test_what_others_had(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    assert Busy.now(stat) is None
    stat.write_text("cpu  100 0 0 100 0 0 0 0 0 0\n")
    before = Busy.now(stat)
    stat.write_text("cpu  150 0 20 120 0 0 0 10 0 0\n")  # 80 of 100 ticks worked, of a hundredth of a second
    after = Busy.now(stat)
    assert before
    assert after
    assert before.others(after, own=0.5) == pytest.approx(0.3)
    assert before.others(before, own=0.0) is None


def test_the_drawn_scene_is_the_same_every_time_and_moves() -> None:
    one, two = clip.scene((96, 64)), clip.scene((96, 64))
    first, second = next(one), next(one)
    assert first.shape == (64, 96, 3)
    assert (first == next(two)).all()
    assert (first != second).any()


def test_a_clip_of_ones_own_is_brought_to_the_size(tmp_path: Path) -> None:
    assert clip.write(tmp_path / "scene.mp4", (96, 64), 6) == 6
    assert clip.write(tmp_path / "own.mp4", (32, 16), 4, str(tmp_path / "scene.mp4")) == 4
    video = cv2.VideoCapture(str(tmp_path / "own.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (32, 16)


@pytest.mark.parametrize("sink", ["null", "md5", "x264-ultrafast"])
def test_a_run_is_timed_from_its_start_to_its_end(sink: str, tmp_path: Path) -> None:
    clip.write(tmp_path / "in.mp4", (64, 48), 6)
    case = Case(network="m4c8", size=TINY, threads=1, sink=sink)
    begin = once.time.perf_counter()
    done = once.once(Order(case=case, clip=str(tmp_path / "in.mp4"), output=str(tmp_path / "out.mp4"), begin=begin))
    assert done.frames == 6
    assert 0 < done.first_frame < done.end
    assert done.peak_mib > 10
    expected = {"demux", "decode", "copy in", "network"} | ({"encode", "mux", "verify"} if "x264" in sink else set())
    assert {stage for stage, _, _ in done.spans} == expected
    assert all(0 <= begin <= end <= done.end for _, begin, end in done.spans)
    assert done.engine.startswith("m4c8")


def test_the_whole_benchmark(tmp_path: Path) -> None:
    result, other = bench(matrix(sinks=["null", "x264"], precisions=["float32", "fp16"]), frames=6, rounds=2)
    assert other is None
    (tmp_path / "result.json").write_text(result.to_json())
    assert read(tmp_path / "result.json") == result
    assert [measured.case.sink for measured in result.measured] == ["null", "x264"]
    assert [missing.case.precision for missing in result.absent] == ["fp16", "fp16"]
    assert "fp16" in result.absent[0].why
    for measured in result.measured:
        assert measured.frames == 6
        assert len(measured.rounds) == 2
        assert all(done.fps > 0 and done.seconds > done.first_frame > 0 for done in measured.rounds)
        assert sum(stage.share for stage in measured.stages.values()) == pytest.approx(1)
        assert measured.alone["frame"].p50 > 0
        assert measured.quality
        assert measured.quality.psnr > measured.quality.bicubic_psnr


def test_on_a_gpu_the_engine_alone_has_upload_network_and_download() -> None:
    small = spec("420", 8, (40, 24))

    def device(index: int) -> FakeDevice:
        return FakeDevice(eager=1.0, copied=small.format.nbytes(80, 48) / 1e-3)

    def repeating(gpu: Gpu, choice: ModelChoice, what: FrameSpec) -> Repeating:
        assert isinstance(gpu.device, FakeDevice)
        return Repeating(gpu.device, what)

    def open(
        settings: EngineSettings, choice: ModelChoice, what: FrameSpec, *, gpu: Gpu | None, halvings: int
    ) -> Engine:
        assert gpu
        return open_on_gpu(gpu, choice, what, halvings, repeating)

    here = Machine(hint=lambda: True, tensorrt=str, torch=lambda index: "", device=device)
    engines = Engines(EngineSettings(), machine=here, open=open, check=lambda *given: None, timed=True)
    _, engine = engines.open(small)
    found = timed(engine, frame(small))
    engine.close()
    engines.close()
    assert {name: stage.calls for name, stage in found.items()} == dict.fromkeys(
        ["frame", "upload", "network", "download"], FRAMES
    )
    assert found["download"].p50 == pytest.approx(1, rel=0.05)  # a millisecond for a result
    assert found["upload"].p50 == pytest.approx(small.format.nbytes(40, 24) / small.format.nbytes(80, 48), rel=0.05)


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"missing\.mp4") as failure:
        process([Build()], Case(network="m4c8"), tmp_path / "missing.mp4", tmp_path / "cache", 0)
    assert failure.value.exit_code == 3


SPINNING = """
import json, sys, time
order = json.load(sys.stdin)
begun = time.perf_counter() - order["begin"]
while time.process_time() < 0.3:
    pass
end = time.perf_counter() - order["begin"]
spans = [["network", begun, end]]
print(json.dumps({"engine": "none", "frames": 11, "first_frame": begun, "end": end, "spans": spans}))
"""


@pytest.mark.parametrize("program", ["print('[]')", "print('no JSON')", "raise SystemExit(1)", "import os; os.abort()"])
def test_a_build_that_answers_otherwise_is_no_result(program: str, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="python") as failure:
        process([Build((sys.executable, "-c", program), "")] * 2, Case(network="m4c8"), tmp_path, tmp_path, 0)
    assert failure.value.exit_code == 3


def test_builds_take_turns_and_their_clocks_stand_still_meanwhile(tmp_path: Path) -> None:
    builds = [Build((sys.executable, "-c", SPINNING), "")] * 2
    begin = time.perf_counter()
    done = process(builds, Case(network="m4c8"), tmp_path / "none.mp4", tmp_path, 1)
    whole = time.perf_counter() - begin
    assert [round_.seconds > 0.29 for _, round_ in done] == [True, True]
    assert sum(round_.seconds for _, round_ in done) < whole, "each has what the other hasn't"
    for outcome, round_ in done:
        [(stage, first, last)] = outcome.spans
        assert (stage, first, last) == ("network", outcome.first_frame, outcome.end)
        assert round_.fps == pytest.approx(10 / (last - first))
        assert round_.joules is None


def test_another_build_is_measured_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = Path(vsr.__file__).parents[1]
    words = f"--networks m4c8 --sizes {TINY} --threads 1 --sinks null --frames 6 --no-quality".split()
    files = [tmp_path / "before.json", tmp_path / "after.json"]
    words += ["--against", str(checkout), "--json-against", str(files[0]), "--json", str(files[1])]
    assert main([*words, "--rounds", "6"]) == 2
    assert "tells nothing of so many cases in fewer than 7 rounds" in capsys.readouterr().err
    found = main([*words, "--rounds", "7"])
    assert found in (0, 1), capsys.readouterr().err
    before, after = (read(path) for path in files)
    assert before.together == after.together != ""
    assert remarks(before, after) == []
    assert [len(result.measured[0].rounds) for result in (before, after)] == [7, 7]
    assert main(["compare", *map(str, files)]) == found


def test_a_build_is_a_checkout_or_a_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Build.at(Path(sys.executable)).source == ""
    for arguments, said in [
        (["--against", str(tmp_path)], f"{tmp_path}: neither a checkout of vsr nor the Python of an environment"),
        (["--json-against", "x.json"], "--json-against is for --against"),
        (["--against", "/bin/false"], "/bin/false: ended with 1"),
        (["--against", "/bin/true"], "/bin/true: no Python that has vsr-bench"),
    ]:
        assert main(arguments) == 2
        assert said in capsys.readouterr().err


def test_the_sheet_names_the_machine() -> None:
    sheet = machine()
    assert sheet["cores"] >= sheet["usable_cores"] >= 1
    assert {"processor", "extensions", "python", "date", "av", "numpy", "openvino"} <= set(sheet)
    json.dumps(sheet)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "measured": [{}], "absent": []}', '{"version": 1}']
)
def test_other_files_are_no_results(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(InputError, match=r"other\.json"):
        read(tmp_path / "other.json")


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    measured = Measured(case=Case(network="m4c8"), cold=DONE, rounds=[DONE], timeline=[("decode", 0.0, 1.0)])
    whole = Result(vsr="0", machine={"cores": 2}, clip="scene", measured=[measured])
    whole.absent.append(Absent(case=Case(network="edsr"), why="no weights"))
    (tmp_path / "a.json").write_text(whole.to_json())
    assert read(tmp_path / "a.json") == whole


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sizes", TINY, "--networks", "m4c8", "--frames", "4", "--rounds", "1", "--sinks", "null"]
    assert main([*words, "--no-quality", "--json", str(tmp_path / "a.json")]) == 0
    shown = capsys.readouterr().out
    assert "m4c8 64x48" in shown
    assert "demux" in shown
    assert read(tmp_path / "a.json").measured[0].quality is None


def test_nothing_measured_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sizes", TINY, "--networks", "m4c8", "--frames", "4", "--rounds", "1", "--sinks", "null"]
    assert main([*words, "--no-quality", "--precisions", "fp16", "--backends", "openvino"]) == 2
    shown = capsys.readouterr()
    assert "absent: " in shown.out
    assert "every case is absent" in shown.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--frames", "1"], 2, "--frames must be"),
        (["--input", "/nowhere.mp4"], 3, "/nowhere.mp4: no such file"),
        (["--json", "/nowhere/a.json"], 4, "/nowhere"),
    ],
)
def test_what_cannot_be_meant_is_said_first(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--sizes", "63x48"], ["--sizes", "big"], ["--sinks", "x265"], ["--networks", "no"]])
def test_unknown_words_are_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
