"""The whole program on this machine: python benchmarks/run.py [--input FILE] [--out FILE]

Runs `vsr-run` as a user would, start-up and verification included: each case once a round, rounds one after the other,
so that a machine that slows down slows every case. Prints median fps, where the time goes and peak memory; writes all
runs as JSON. The default input is the demo scene at 960x540, H.264, 600 frames (rendered once, kept in the cache).
With --memory it runs 5,000 frames instead and says whether memory stays flat.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsr.bench.machine import machine

sys.path.append(str(Path(__file__).resolve().parent.parent / "demo"))
FRAMES, RENDERED, RATE = 600, 96, 24
SINKS = {
    "null": ["--sink", "null"],
    "x264 superfast": ["--preset", "superfast"],
    "x264 veryfast": ["--preset", "veryfast"],
}


def clip(path: Path, frames: int) -> Path:
    """The demo scene at 960x540, played to and fro up to `frames`; x264 crf 20."""
    import render

    path.parent.mkdir(parents=True, exist_ok=True)
    scene = [
        av.VideoFrame.from_ndarray(render.picture(n), format="rgb24").reformat(format="yuv420p")
        for n in range(RENDERED)
    ]
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "medium"})
        video.width, video.height, video.pix_fmt = 960, 540, "yuv420p"
        for n in range(frames):
            position = n % (2 * RENDERED)
            frame = scene[min(position, 2 * RENDERED - 1 - position)]
            frame.pts, frame.time_base = n, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    part.rename(path)
    return path


def cached(frames: int) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vsr" / "benchmarks"
    path = folder / f"scene_960x540_{frames}.mp4"
    return path if path.exists() else clip(path, frames)


def one(source: Path, arguments: list[str], folder: Path, watch: list[int]) -> dict[str, Any]:
    """One run of the program: wall seconds, report, peak memory; `watch` collects resident MiB as it goes."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "vsr.cli.run", str(source), *arguments, "--quiet", "--report", str(report)]
    if "--sink" not in arguments:
        command[4:4] = [str(folder / "out.mp4"), "--overwrite"]
    begin = time.perf_counter()
    process = subprocess.Popen(command)
    peak = 0
    while process.poll() is None:
        now, peak = resident(process.pid, peak)
        watch.append(now)
        time.sleep(0.05)
    wall = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"vsr-run failed: {' '.join(command)}")
    done = json.loads(report.read_text())
    return {"wall": wall, "fps": done["frames_written"] / wall, "peak_mib": peak, "report": done}


def resident(pid: int, peak: int) -> tuple[int, int]:
    """Resident memory now and at its peak, MiB; 0 and the peak known before when the process has just gone."""
    try:
        lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    except OSError:
        return 0, peak
    found = {words[0]: int(words[1]) // 1024 for words in lines if words[0] in ("VmRSS:", "VmHWM:")}
    return found.get("VmRSS:", 0), found.get("VmHWM:", peak)


def speed(source: Path, precisions: list[str], rounds: int) -> list[dict[str, Any]]:
    cases = [(precision, sink) for precision in precisions for sink in SINKS]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for precision, sink in cases:
                result = one(source, [*SINKS[sink], "--precision", precision], Path(folder), [])
                if number:  # the first round warms caches
                    runs[precision, sink].append(result)
    return [
        {
            "precision": precision,
            "sink": sink,
            "engine": results[0]["report"]["engine"],
            "fps": statistics.median(r["fps"] for r in results),
            "fps_all": [round(r["fps"], 2) for r in results],
            "peak_mib": max(r["peak_mib"] for r in results),
            "stages": {
                stage: statistics.median(r["report"]["stages"][stage] for r in results)
                / results[0]["report"]["frames_written"]
                * 1000
                for stage in results[0]["report"]["stages"]
            },
        }
        for (precision, sink), results in runs.items()
    ]


def memory(source: Path) -> dict[str, Any]:
    """Resident memory over a long run: the mean of its second quarter against its last before the encoder is closed."""
    with tempfile.TemporaryDirectory() as folder:
        seen: list[int] = []
        result = one(source, ["--preset", "superfast"], Path(folder), seen)
    early, late = (statistics.mean(seen[len(seen) * a // 20 : len(seen) * b // 20]) for a, b in ((5, 10), (14, 19)))
    return {
        "frames": result["report"]["frames_written"],
        "peak_mib": result["peak_mib"],
        "early_mib": early,
        "late_mib": late,
    }


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--input", type=Path, help="another video (default: the rendered scene)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--precisions", nargs="+", default=["int8", "bf16"])
    p.add_argument("--memory", action="store_true", help="5,000 frames, memory instead of speed")
    p.add_argument("--out", type=Path, help="result file (default: printed only)")
    args = p.parse_args()
    result: dict[str, Any] = {
        "machine": machine(),
        "input": str(args.input.name if args.input else "scene 960x540 H.264"),
    }
    if args.memory:
        result["memory"] = memory(args.input or cached(5000))
        print(json.dumps(result["memory"]))
    else:
        result["speed"] = speed(args.input or cached(FRAMES), args.precisions, args.rounds)
        for row in result["speed"]:
            stages = "ms a frame: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in row["stages"].items())
            name = f"{row['precision']:8} {row['sink']:15}"
            print(f"{name} {row['fps']:6.1f} fps {row['peak_mib']:5} MiB   {stages}")
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
