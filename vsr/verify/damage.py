"""Whether a sound track of the source is damaged, so that no output could hold it as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from av.codec.context import CodecContext

from vsr.demux import open_input, packets
from vsr.report import Report
from vsr.settings import Limits
from vsr.sound import decode

if TYPE_CHECKING:
    from av.packet import Packet

# Sound that says in each frame how long it is; containers are read by it, so a damaged one is cut up differently.
SELF_FRAMED = ("mp1", "mp2", "mp3", "ac3", "eac3", "dca")


def is_damaged(path: str, index: int, limits: Limits) -> bool:
    """Whether packets can't be decoded, end within a sample, or aren't the frames that their own headers tell of."""
    report = Report()
    with open_input(path, limits) as container:
        stream: Any = container.streams[index]
        context = stream.codec_context
        if stream.type != "audio" or context is None:
            return False
        coded = [(bytes(packet), decode(stream, packet, report)) for packet in packets(container, [stream], report)]
        if report.damaged_packets:
            return True
        if context.name.startswith("pcm_"):
            block = context.format.bytes * context.layout.nb_channels
            return any(len(payload) % block for payload, _ in coded)
        parsed = _parsed(context.codec.canonical_name, b"".join(payload for payload, _ in coded))
        return bool(parsed) and parsed != [len(payload) for payload, _ in coded]


def _parsed(codec: str, stream: bytes) -> list[int]:
    """Sizes of the frames a parser finds; none for codecs whose frames need the container."""
    if codec not in SELF_FRAMED:
        return []
    parser = CodecContext.create(codec, "r")
    found: list[Packet[Any]] = [*parser.parse(stream), *parser.parse(None)]
    return [packet.size for packet in found]
