"""Weights for streams against clean ones on coded video: python benchmarks/stream.py --clips FOLDER [--out FILE]

The first frames of every clip are reduced by 2 (bicubic), coded by x264, decoded, upscaled in float32 and compared with
the clip: mean luma PSNR over its frames (60 dB at most, so that black ones count), then over clips. `bits` are x264's a
pixel, colour included, by which `vsr-run --weights auto` chooses (vsr/weights.py). Networks without weights for streams
show clean ones alone.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import onnx

from vsr.metrics import psnr, to_uint8
from vsr.models import models_folder
from vsr.reduced import ReducedClip, reduced
from vsr.training.evaluate import Upscaler, upscaler

SCALE = 2
MOST = 60.0  # dB
BASE = "cubic"  # MATLAB's bicubic as a model: a = -0.5


def models(engines: Path, networks: list[str]) -> dict[str, Upscaler]:
    """The base row, then clean and stream weights of each network, of those that are there."""
    names = [BASE, *(name + suffix for name in networks for suffix in ("", "-stream"))]
    paths = {name: engines / f"{name}_x{SCALE}.onnx" for name in names}
    return {name: upscaler(onnx.load(path)) for name, path in paths.items() if path.is_file()}


def scores(clip: ReducedClip, rows: dict[str, Upscaler]) -> dict[str, float]:
    """Mean PSNR of the clip's frames by each model."""
    return {
        name: mean(
            min(MOST, psnr(to_uint8(upscale(low)), high, border=SCALE))
            for low, high in zip(clip.low, clip.high, strict=True)
        )
        for name, upscale in rows.items()
    }


def measured(clips: list[Path], crfs: list[float], frames: int, rows: dict[str, Upscaler]) -> Iterator[dict[str, Any]]:
    """One record for each clip and CRF, printed as it comes."""
    for path in clips:
        for crf in crfs:
            clip = reduced(str(path), SCALE, frames=frames, crf=crf)
            record = {"clip": path.name, "crf": crf, "bits": round(clip.bits, 4)}
            record["psnr"] = {name: round(value, 3) for name, value in scores(clip, rows).items()}
            shown = "  ".join(f"{name} {value:6.2f}" for name, value in record["psnr"].items())
            print(f"{path.name[:36]:36} crf {crf:g} {clip.bits:.3f} bits  {shown}", flush=True)
            yield record


def summary(records: list[dict[str, Any]], crf: float) -> dict[str, Any]:
    """Means over clips at one CRF, and what each network gains by its weights for streams."""
    chosen = [record for record in records if record["crf"] == crf]
    means = {name: round(mean(record["psnr"][name] for record in chosen), 3) for name in chosen[0]["psnr"]}
    gains = {n: round(means[f"{n}-stream"] - value, 3) for n, value in means.items() if f"{n}-stream" in means}
    bits = sorted(record["bits"] for record in chosen)
    return {"crf": crf, "bits_median": bits[len(bits) // 2], "psnr": means, "gain": gains}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clips", type=Path, required=True, help="folder of videos, not those trained on")
    p.add_argument("--networks", nargs="+", default=["m4c8", "m4c16", "m10c16"])
    p.add_argument("--engines", type=Path, default=models_folder(), help="folder of models (default: those that ship)")
    p.add_argument("--crf", type=float, nargs="+", default=[18, 23, 28, 33])
    p.add_argument("--frames", type=int, default=24, help="of each clip")
    p.add_argument("--out", type=Path, help="result file (default: printed only)")
    args = p.parse_args()
    clips = sorted(path for path in args.clips.iterdir() if path.is_file())
    records = list(measured(clips, args.crf, args.frames, models(args.engines, args.networks)))
    means = [summary(records, crf) for crf in args.crf]
    for line in means:
        print(json.dumps(line))
    if args.out:
        facts = {"date": datetime.date.today().isoformat(), "frames": args.frames, "encoder": "libx264 medium"}
        args.out.write_text(json.dumps(facts | {"means": means, "clips": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
