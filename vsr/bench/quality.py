"""PSNR and SSIM of the cases' networks against a reference: the clip reduced by the scale and upscaled again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from vsr.bench.result import Case, Measured, Quality
from vsr.meter import Meter
from vsr.metrics import imresize, to_uint8
from vsr.reduced import Luma, ReducedClip, reduced
from vsr.upscaler import Upscaler

FRAMES = 5


def judge(results: Sequence[Measured], clip: str, say: Callable[[str], None] = lambda line: None) -> None:
    """Fills in `quality`; equal for all sizes, sinks and threads of a network, so it is measured once for each."""
    clips: dict[int, ReducedClip] = {}
    known: dict[tuple[str, str, str, int], Quality] = {}
    for measured in results:
        case = measured.case
        if case.scale not in clips:
            clips[case.scale] = reduced(clip, case.scale, frames=FRAMES)
        key = case.network, case.precision, case.backend, case.scale
        if key not in known:
            say(f"PSNR: {case}")
            known[key] = quality(case, clips[case.scale])
        measured.quality = known[key]


def quality(case: Case, clip: ReducedClip) -> Quality:
    """By the papers' protocol, `scale` pixels left out on every side."""
    with Upscaler(
        scale=case.scale, network=case.network, precision=case.precision, backend=case.backend, threads=case.threads
    ) as upscale:
        own = _scores(clip, [upscale(low) for low in clip.low], case.scale)
    bicubic = _scores(clip, [to_uint8(imresize(low, case.scale)) for low in clip.low], case.scale)
    return Quality(frames=len(clip.low), psnr=own[0], ssim=own[1], bicubic_psnr=bicubic[0], bicubic_ssim=bicubic[1])


def _scores(clip: ReducedClip, results: Sequence[Luma], scale: int) -> tuple[float, float]:
    meter = Meter(border=scale)
    for time, high, result in zip(clip.times, clip.high, results, strict=True):
        meter.add(time, high, result)
    return fmean(meter.scores.psnr), fmean(meter.scores.ssim)
