"""What several ONNX operators say, in fewer kernels and less memory; on a CPU bit-equal to them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from vsr.backends.pytorch.operators import Operator, conv, conv_pads
from vsr.backends.pytorch.resize import Attributes

_ALIGNED = 8  # channels of fp16 that make 16 bytes, as fused kernels want them


class ConvRelu:
    """Conv, then Relu; one kernel where cuDNN has it for this convolution, which the first run finds out."""

    def __init__(self) -> None:
        self._fused = True

    def __call__(self, at: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        strides, dilations, group = at.get("strides", [1, 1]), at.get("dilations", [1, 1]), at.get("group", 1)
        top, left, bottom, right = conv_pads(at, x, weight, strides, dilations)
        wide = x.shape[1] % _ALIGNED == weight.shape[0] % _ALIGNED == 0
        if self._fused and x.is_cuda and x.dtype == torch.float16 and wide and (top, left) == (bottom, right):
            try:
                return torch.cudnn_convolution_relu(x, weight, bias, strides, [top, left], dilations, group)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                self._fused = False
        return conv(at, x, weight, bias).relu_()


def _clip(at: Attributes, x: Tensor, *limits: Tensor) -> Tensor:
    return x.clamp_(*[limit.item() for limit in limits]) if limits else x


# Into their first input's memory; further inputs are numbers.
IN_PLACE: Mapping[str, Operator] = MappingProxyType(
    {"Clip": _clip, "Mul": lambda at, x, y: x.mul_(y), "Round": lambda at, x: x.round_()}
)
