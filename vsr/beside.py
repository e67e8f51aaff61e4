"""What an encoder puts beside a packet for Matroska's BlockAdditional: VP9's coded alpha."""

from __future__ import annotations

from typing import Any

from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal

KIND = packet_sidedata_type_from_literal("matroska_block_additional")


def beside(packet: Packet[Any]) -> bytes:
    """The bytes beside a packet; empty where there are none."""
    if not packet.has_sidedata("matroska_block_additional"):
        return b""
    return bytes(packet.get_sidedata("matroska_block_additional"))


def put_beside(packet: Packet[Any], data: bytes) -> None:
    """Puts bytes beside a packet; none where there are none."""
    if data:
        content = PacketSideData(KIND, len(data))  # type: ignore[call-arg]
        content.update(data)
        packet.set_sidedata(content)
