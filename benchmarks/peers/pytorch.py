"""Plain torch, eager, channels last: the networks as they were trained, with the weights that ship."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.ours import shipped
from benchmarks.peers.peer import CORES, Clip, Upscale, with_chroma
from vsr.errors import Unavailable
from vsr.frame import Plane
from vsr.models import load


def network(name: str, precision: Literal["float32", "bf16"]) -> Callable[[Clip], tuple[Upscale, str]]:
    """In bf16 by autocast: the convolutions, not the sum at the end."""

    def open(clip: Clip) -> tuple[Upscale, str]:
        try:
            import torch
        except ImportError as error:
            raise Unavailable("no torch: pip install torch") from error
        from torch.nn import functional

        from benchmarks.gpu.peers import network

        torch.set_num_threads(CORES)
        model, context = network(name, clip.scale, load(shipped(name, clip.scale)).proto)
        model.to(memory_format=torch.channels_last)
        half = precision == "bf16"

        def luma(plane: Plane) -> NDArray[np.float32]:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
                given = torch.from_numpy(plane)[None, None].float() / 255
                padded = functional.pad(given, (context,) * 4, mode="replicate")
                result: NDArray[np.float32] = (
                    model(padded.contiguous(memory_format=torch.channels_last))[0, 0].float().numpy()
                )
                return result

        return with_chroma(luma, clip.scale), f"torch {torch.__version__} {precision}"

    return open
