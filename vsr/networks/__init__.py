"""The networks of the literature: a table that costs nothing to import, and `build`, which needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsr.errors import UsageError
from vsr.networks.table import NETWORKS, Layer, Network

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "Layer", "Network", "build"]


def build(name: str, scale: int) -> nn.Module:
    """The untrained torch module of `name`; (N, 1, H + 2 radius, W + 2 radius) -> (N, 1, scale H, scale W).

    Raises UsageError for a name or scale the table doesn't have.
    """
    if name not in NETWORKS:
        raise UsageError(f"unknown network {name!r}; known: {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    if scale not in network.scales:
        raise UsageError(f"{name} has no scale {scale}; its scales: {', '.join(map(str, network.scales))}")
    if name.startswith("fsrcnn"):
        from vsr.networks.fsrcnn import FSRCNN

        first, shrunk, *mapping = network.layers[:-2]
        return FSRCNN(first.outputs, shrunk.outputs, len(mapping), scale)
    if name == "espcn":
        from vsr.networks.espcn import ESPCN

        return ESPCN(scale)
    from vsr.networks.mxcy import MxCy

    return MxCy(network.depth - 2, network.layers[0].outputs, scale)
