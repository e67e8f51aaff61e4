"""The cache of plans: one builder, whatever happens, and nobody else's code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vsr.errors import OutputError
from vsr.plans import PlanCache, PlanError, PlanKey

KEY = PlanKey({"model": "abc", "gpu": {"name": "Fake GPU", "memory": 8}})


def taken(plan: bytes) -> bytes:
    if not plan.startswith(b"plan"):
        raise PlanError("not a plan")
    return plan


def never() -> bytes:
    raise AssertionError("built, though it was there")


def quiet(line: str) -> None:
    raise AssertionError(line)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_plan_is_built_once(cache: PlanCache) -> None:
    assert cache.obtain(KEY, lambda: b"plan 1", taken, said=quiet) == b"plan 1"
    assert cache.obtain(KEY, never, taken, said=quiet) == b"plan 1"
    assert PlanCache(cache.folder).obtain(KEY, never, taken, said=quiet) == b"plan 1"
    assert cache.obtain(PlanKey({"model": "other"}), lambda: b"plan 2", taken, said=quiet) == b"plan 2"


def test_a_plan_that_does_not_load_is_built_anew_once(cache: PlanCache) -> None:
    cache.obtain(KEY, lambda: b"plan 1", taken, said=quiet)
    (stored,) = cache.stored()
    stored.path.write_bytes(b"damaged")
    said: list[str] = []
    assert cache.obtain(KEY, lambda: b"plan 2", taken, said=said.append) == b"plan 2"
    assert len(said) == 1
    assert "built anew" in said[0]
    assert cache.obtain(KEY, never, taken, said=quiet) == b"plan 2"
    with pytest.raises(PlanError, match="not a plan"):
        cache.obtain(PlanKey({}), lambda: b"never one", taken, said=quiet)


def test_a_build_that_fails_leaves_nothing(cache: PlanCache) -> None:
    def failing() -> bytes:
        raise PlanError("no kernel")

    with pytest.raises(PlanError, match="no kernel"):
        cache.obtain(KEY, failing, taken, said=quiet)
    assert [path.suffix for path in cache.folder.iterdir()] == [".lock"]
    assert cache.obtain(KEY, lambda: b"plan", taken, said=quiet) == b"plan"


def test_a_plan_that_cannot_be_kept_is_used(cache: PlanCache) -> None:
    def build() -> bytes:
        cache.folder.rename(cache.folder.with_name("gone"))
        return b"plan"

    said: list[str] = []
    assert cache.obtain(KEY, build, taken, said=said.append) == b"plan"
    assert len(said) == 1
    assert "isn't kept" in said[0]


BUILDER = """
import sys, time
from pathlib import Path
from vsr.plans import PlanCache, PlanKey
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
def build():
    with (folder / "builds").open("a") as file:
        file.write("built\\n")
    print("building", flush=True)
    time.sleep(seconds)
    return b"plan of many bytes" * 1000
cache = PlanCache(folder / "plans")
print(len(cache.obtain(PlanKey({"key": 1}), build, bytes, said=lambda line: print(line, flush=True))), flush=True)
"""


def builder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", BUILDER, str(folder), str(seconds)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_builds(tmp_path: Path) -> None:
    processes = [builder(tmp_path, 0.5) for _ in range(4)]
    said = [process.communicate(timeout=60)[0].split("\n") for process in processes]
    assert [lines[-2] for lines in said] == ["18000"] * 4
    assert (tmp_path / "builds").read_text() == "built\n"


def test_a_builder_that_is_killed_leaves_no_lock_and_no_half_file(tmp_path: Path) -> None:
    killed = builder(tmp_path, 600)
    assert killed.stdout is not None
    killed.stdout.readline()
    waiting = builder(tmp_path, 0)
    assert waiting.stdout is not None
    assert "waiting" in waiting.stdout.readline()
    (tmp_path / "plans" / f"{PlanKey({'key': 1}).digest}.plan.123.tmp").write_bytes(b"half")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert waiting.communicate(timeout=60)[0].split() == ["building", "18000"]
    left = sorted(path.suffix for path in (tmp_path / "plans").iterdir())
    assert left == [".json", ".lock", ".plan"]


def test_equal_facts_make_equal_keys() -> None:
    again = PlanKey({"gpu": {"memory": 8, "name": "Fake GPU"}, "model": "abc"})
    assert again.digest == KEY.digest
    assert len(KEY.digest) == 64


@pytest.mark.parametrize(
    "facts",
    [
        {"model": "abd", "gpu": {"name": "Fake GPU", "memory": 8}},
        {"model": "abc", "gpu": {"name": "Fake GPU", "memory": 9}},
        {"model": "abc", "gpu": {"name": "Fake GPU", "memory": "8"}},
        {"model": "abc", "gpu": {"name": "Fake GPU"}},
        {"model": "abc", "gpu": {"name": "Fake GPU", "memory": 8}, "more": None},
    ],
)
def test_every_fact_counts(facts: dict[str, object]) -> None:
    assert PlanKey(facts).digest != KEY.digest


def test_a_key_is_the_same_in_every_process() -> None:
    program = "from vsr.plans import PlanKey; print(PlanKey({'b': 1, 'a': [2, 'x']}).digest)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == PlanKey({"a": [2, "x"], "b": 1}).digest


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans").chmod(mode)
    with pytest.raises(OutputError, match="written by others"):
        PlanCache(tmp_path / "plans")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root gives files away")
    (tmp_path / "plans").mkdir(mode=0o755)
    os.chown(tmp_path / "plans", 12345, 12345)
    with pytest.raises(OutputError, match="written by others"):
        PlanCache(tmp_path / "plans")


def test_a_folder_is_made_for_the_user_alone(cache: PlanCache) -> None:
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_what_is_stored_says_what_it_is(cache: PlanCache) -> None:
    before = time.time()
    cache.obtain(KEY, lambda: b"plan 1", taken, said=quiet)
    (stored,) = cache.stored()
    assert (stored.digest, stored.nbytes, stored.facts) == (KEY.digest, 6, KEY.facts)
    assert before - 1 <= stored.used <= time.time() + 1
    stored.path.with_suffix(".json").write_text("{")
    (unknown,) = cache.stored()
    assert (unknown.facts, unknown.nbytes) == ({}, 6)


def three(cache: PlanCache) -> list[str]:
    """Three plans of 10 bytes, used 3, 2 and 1 days ago; their digests in this order."""
    digests = []
    for days in (3, 2, 1):
        key = PlanKey({"days": days})
        cache.obtain(key, lambda: b"plan 67890", taken, said=quiet)
        then = time.time() - days * 86400
        os.utime(cache.folder / f"{key.digest}.plan", (then, then))
        digests.append(key.digest)
    cache.write("x.timing", b"times")
    return digests


@pytest.mark.parametrize(
    ("clean", "left"),
    [
        (lambda cache: cache.clean(older=2.5 * 86400), 2),
        (lambda cache: cache.clean(older=0.5 * 86400), 0),
        (lambda cache: cache.clean(larger=25), 2),
        (lambda cache: cache.clean(larger=9), 0),
        (lambda cache: cache.clean(larger=30), 3),
        (lambda cache: cache.clean(older=1.5 * 86400, larger=1000), 1),
        (lambda cache: cache.clean(), 0),
    ],
)
def test_cleaning_takes_the_oldest(cache: PlanCache, clean: Callable[[PlanCache], list[object]], left: int) -> None:
    digests = three(cache)
    assert len(clean(cache)) == 3 - left
    assert {plan.digest for plan in cache.stored()} == set(digests[3 - left :])
    files = {path.name.split(".")[0] for path in cache.folder.iterdir()}
    assert files - {"x"} == set(digests[3 - left :])


def test_a_small_plan_goes_before_a_large_one_used_later(cache: PlanCache) -> None:
    digests = three(cache)
    cache.stored()[1].path.write_bytes(b"plan" * 5)
    then = time.time() - 2 * 86400
    os.utime(cache.stored()[0].path, (then, then))
    assert [plan.digest for plan in cache.clean(larger=25)] == digests[:2], "older ones go first, however small"


def test_cleaning_everything_takes_the_timing_caches_too(cache: PlanCache) -> None:
    three(cache)
    cache.clean(older=1)
    assert cache.read("x.timing") == b"times"
    cache.clean()
    assert cache.read("x.timing") == b""
    assert not list(cache.folder.iterdir())


def test_a_plan_that_is_used_is_not_old(cache: PlanCache) -> None:
    digests = three(cache)
    cache.obtain(PlanKey({"days": 3}), never, taken, said=quiet)
    cache.clean(larger=10)
    assert [plan.digest for plan in cache.stored()] == digests[:1]


def test_the_description_is_readable(cache: PlanCache) -> None:
    cache.obtain(KEY, lambda: b"plan", taken, said=quiet)
    described = json.loads((cache.folder / f"{KEY.digest}.json").read_text())
    assert described["facts"] == KEY.facts
    assert described["seconds"] >= 0
