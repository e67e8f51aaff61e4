"""Whether a sound track of the source is damaged, so that no output could hold it as it is."""

from __future__ import annotations

from array import array
from typing import Any

from av.codec.context import CodecContext

from vsr.demux import open_input, packets
from vsr.report import Report
from vsr.settings import Limits
from vsr.sound import decode

# Sound that says in each frame how long it is; containers are read by it, so a damaged one is cut up differently.
SELF_FRAMED = ("mp1", "mp2", "mp3", "ac3", "eac3", "dca")


def is_damaged(path: str, index: int, limits: Limits) -> bool:
    """Whether packets can't be decoded, end within a sample, or aren't the frames that their own headers tell of."""
    report, sizes, parsed = Report(), array("q"), array("q")
    with open_input(path, limits) as container:
        stream: Any = container.streams[index]
        context = stream.codec_context
        if stream.type != "audio" or context is None:
            return False
        codec = context.codec.canonical_name
        block = _bytes(codec) * context.layout.nb_channels
        parser: Any = CodecContext.create(codec, "r") if codec in SELF_FRAMED else None
        for packet in packets(container, [stream], report):
            payload = bytes(packet)
            decode(stream, packet, report)
            if report.damaged_packets or len(payload) % max(1, block):
                return True
            sizes.append(len(payload))
            parsed.extend(frame.size for frame in (parser.parse(payload) if parser else ()))
        parsed.extend(frame.size for frame in (parser.parse(None) if parser else ()))
    return bool(report.damaged_packets or parsed and parsed != sizes)


def _bytes(codec: str) -> int:
    """Of one sample of PCM, by FFmpeg's names: pcm_s24le has 3, pcm_alaw 1; 0 for other codecs."""
    bits = "".join(filter(str.isdigit, codec)) or "8"
    return int(bits) // 8 if codec.startswith("pcm_") else 0
