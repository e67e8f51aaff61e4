"""The networks of the literature: a table that costs nothing to import, and `build`, which needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsr.errors import UsageError
from vsr.networks.table import NETWORKS, Network

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "Network", "build"]


def build(name: str, scale: int) -> nn.Module:
    """The untrained torch module of `name`; its `context` is what it wants around its input, edge-padded.

    (N, 1, H + 2 context, W + 2 context) -> (N, 1, scale H, scale W), float32 luma 0..1.

    Raises UsageError for a name or scale the table doesn't have.
    """
    if name not in NETWORKS:
        raise UsageError(f"unknown network {name!r}; known: {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    if scale not in network.scales:
        raise UsageError(f"{name} has no scale {scale}; its scales: {', '.join(map(str, network.scales))}")
    match network.family, network.shape:
        case "mxcy", (body, channels, block):
            from vsr.networks.mxcy import MxCy

            return MxCy(body, channels, block, scale)
        case "srcnn", (middle, last):
            from vsr.networks.srcnn import SRCNN

            return SRCNN(middle, last, scale)
        case "fsrcnn", (channels, shrunk, mapping):
            from vsr.networks.fsrcnn import FSRCNN

            return FSRCNN(channels, shrunk, mapping, scale)
        case "espcn", ():
            from vsr.networks.espcn import ESPCN

            return ESPCN(scale)
        case "vdsr", (depth,):
            from vsr.networks.vdsr import VDSR

            return VDSR(depth, scale)
        case "edsr", (blocks,):
            from vsr.networks.edsr import EDSR

            return EDSR(blocks, scale)
        case "srresnet", (blocks,):
            from vsr.networks.srresnet import SRResNet

            return SRResNet(blocks, scale)
        case "dbpn", (first, width, stages):
            from vsr.networks.dbpn import DBPN

            return DBPN(first, width, stages, scale)
        case "srmd", (depth, noise):
            from vsr.networks.srmd import SRMD

            return SRMD(depth, scale, noise=bool(noise))
        case "sparse", ():
            from vsr.networks.sparse import SparseCoding

            return SparseCoding(scale)
        case "cubic", (hundredths,):
            from vsr.networks.cubic import Cubic

            return Cubic(scale, hundredths / 100)
    raise AssertionError(network)
