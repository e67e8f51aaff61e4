"""Weights for streams against clean ones on coded video: python benchmarks/stream.py --clips FOLDER [--out FILE]

The first frames of every clip are reduced by 2 (bicubic), coded, decoded, upscaled in float32 and compared with the
clip: mean luma PSNR over its frames (60 dB at most, so that black ones count), then over clips. `bits` are those of a
coded pixel, colour included, by which `vsr-run --weights auto` chooses (vsr/weights.py); `gain_auto` is what that
brings. Networks without weights for streams show clean ones alone.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator
from operator import mul
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

import onnx

from vsr.metrics import psnr, to_uint8
from vsr.models import models_folder
from vsr.reduced import ReducedClip, reduced
from vsr.training.coding import DECODERS, Coding
from vsr.training.evaluate import Upscaler, upscaler
from vsr.weights import STREAM_BELOW

SCALE = 2
PRESETS = {"libx264": "medium", "libx265": "medium", "libsvtav1": "8"}
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


def measured(
    clips: list[Path], encoder: str, crfs: list[int], frames: int, rows: dict[str, Upscaler]
) -> Iterator[dict[str, Any]]:
    """One record for each clip and CRF, printed as it comes."""
    for path in clips:
        clean = reduced(str(path), SCALE, frames=frames)
        for crf in crfs:
            clip = clean.coded(Coding(encoder, {"crf": str(crf), "preset": PRESETS[encoder]}, clean.rate))
            record = {"clip": path.name, "crf": crf, "bits": round(clip.bits, 4)}
            record["psnr"] = {name: round(value, 3) for name, value in scores(clip, rows).items()}
            shown = "  ".join(f"{name} {value:6.2f}" for name, value in record["psnr"].items())
            print(f"{path.name[:36]:36} crf {crf} {clip.bits:.3f} bits  {shown}", flush=True)
            yield record


def summary(records: list[dict[str, Any]], crf: int, limit: float) -> dict[str, Any]:
    """Means over clips at one CRF, and what each network gains by its weights for streams, always and below `limit`."""
    chosen = [record for record in records if record["crf"] == crf]
    means = {name: round(mean(record["psnr"][name] for record in chosen), 3) for name in chosen[0]["psnr"]}
    both = [name for name in means if f"{name}-stream" in means]
    gains = {name: [r["psnr"][f"{name}-stream"] - r["psnr"][name] for r in chosen] for name in both}
    few = [record["bits"] < limit for record in chosen]
    return {
        "crf": crf,
        "bits": [round(share, 3) for share in quantiles((record["bits"] for record in chosen), n=4)],
        "psnr": means,
        "gain": {name: round(mean(gain), 3) for name, gain in gains.items()},
        "gain_auto": {name: round(mean(map(mul, gain, few)), 3) for name, gain in gains.items()},
    }


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clips", type=Path, required=True, help="folder of videos, not those trained on")
    p.add_argument("--networks", nargs="+", default=["m4c8", "m4c16", "m10c16"])
    p.add_argument("--engines", type=Path, default=models_folder(), help="folder of models (default: those that ship)")
    p.add_argument("--encoder", choices=PRESETS, default="libx264")
    p.add_argument("--crf", type=int, nargs="+", default=[18, 23, 28, 33])
    p.add_argument("--frames", type=int, default=24, help="of each clip")
    p.add_argument("--out", type=Path, help="result file (default: printed only)")
    args = p.parse_args()
    clips = sorted(path for path in args.clips.iterdir() if path.is_file())
    rows = models(args.engines, args.networks)
    records = list(measured(clips, args.encoder, args.crf, args.frames, rows))
    means = [summary(records, crf, STREAM_BELOW[DECODERS[args.encoder]]) for crf in args.crf]
    for line in means:
        print(json.dumps(line))
    if args.out:
        encoder = f"{args.encoder} {PRESETS[args.encoder]}"
        facts = {"date": datetime.date.today().isoformat(), "frames": args.frames, "encoder": encoder}
        args.out.write_text(json.dumps(facts | {"means": means, "clips": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
