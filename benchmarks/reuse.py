"""What reuse spares: python -m benchmarks.reuse CLIP... [--duration 5] [--rounds 3] [--out FILE]

Each clip goes through decoder and network into nothing and into x264 superfast, with `--reuse off` and `auto` in turn,
in a process each. Shown are the share of the network's work that was spared and how many times as fast the run was: the
ratio of both medians. A run into `--sink md5` each way tells whether the frames are the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from vsr.bench.machine import machine

MODES = ("off", "auto")
SINKS = {"null": ["--sink", "null"], "superfast": ["--preset", "superfast"]}


def run(clip: Path, mode: str, duration: float, words: list[str]) -> tuple[dict[str, Any], str]:
    """The report of one run, and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        report, output = Path(folder) / "report.json", [] if "--sink" in words else [str(Path(folder) / "out.mp4")]
        words = [*output, *words, "--reuse", mode, "--duration", str(duration), "--report", str(report), "--quiet"]
        command = [sys.executable, "-m", "vsr.cli.run", str(clip), *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(report.read_text())
        return found, done.stdout


def measured(clip: Path, duration: float, rounds: int) -> dict[str, Any]:
    """One clip's row; the md5 runs come first and compile what isn't compiled yet."""
    digests = {run(clip, mode, duration, ["--sink", "md5"])[1] for mode in MODES}
    fps: dict[str, dict[str, list[float]]] = {sink: {mode: [] for mode in MODES} for sink in SINKS}
    for _ in range(rounds):
        for sink, words in SINKS.items():
            for mode in MODES:
                report, _ = run(clip, mode, duration, words)
                fps[sink][mode].append(report["fps"])
    return {
        "clip": clip.name,
        "engine": report["engine"],
        "frames": report["frames_written"],
        "same": len(digests) == 1,
        "reused": report["reused"],
        "fps": fps,
        "ratio": {sink: round(median(found["auto"]) / median(found["off"]), 3) for sink, found in fps.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of each clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for clip in arguments.clips:
        row = measured(clip, arguments.duration, arguments.rounds)
        rows.append(row)
        same = "same frames" if row["same"] else "FRAMES DIFFER"
        ratios = ", ".join(f"{ratio:.2f} times as fast into {sink}" for sink, ratio in row["ratio"].items())
        print(f"{row['clip']}: {row['reused']:.0%} spared, {ratios}, {same}", flush=True)
    if arguments.out:
        found = {"machine": machine(), "duration": arguments.duration, "rounds": arguments.rounds, "clips": rows}
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    if not all(row["same"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
