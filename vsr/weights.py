"""Clean or stream weights: which suit a video, by its codec and the bits it spends on a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vsr.models import models_folder, network_of
from vsr.settings import EngineSettings

# Bits per pixel below which weights for streams win more than they lose, by benchmarks/stream.py: about what clips
# spend at CRF 16 of x264, 22 of x265 and 38 of SVT-AV1, beyond which they win on most. For H.264 that was 0.3 over six
# frames; whole clips, where key frames weigh less, spend less at the same CRF. VP9 is taken to be like HEVC.
STREAM_BELOW: Mapping[str, float] = {
    "h264": 0.2,
    "hevc": 0.15,
    "av1": 0.1,
    "libdav1d": 0.1,
    "vp9": 0.15,
}


def suited(
    settings: EngineSettings, codec: str, bits: float | None, *, folder: Path | None = None
) -> tuple[EngineSettings, str]:
    """The settings with "auto" weights replaced, and why in a line; "" where there was nothing to choose.

    Args:
        codec: of the video, FFmpeg's name.
        bits: per pixel; None where unknown.
        folder: of models; None takes what ships.
    """
    if settings.weights != "auto":
        return settings, ""
    if settings.model is not None or not _there(settings, folder or models_folder()):
        return replace(settings, weights="clean"), ""
    limit = STREAM_BELOW.get(codec)
    if limit is None or bits is None:
        return replace(settings, weights="clean"), ""
    seen = f"{codec} of {bits:.3f} bits a pixel"
    if bits < limit:
        return replace(settings, weights="stream"), f"weights for streams: {seen}, under {limit:g} (--weights chooses)"
    return replace(settings, weights="clean"), f"clean weights: {seen}, {limit:g} or more (--weights chooses)"


def _there(settings: EngineSettings, folder: Path) -> bool:
    return (folder / f"{network_of(settings)}-stream_x{settings.scale}.onnx").is_file()
