"""Sound that can't be copied: decoded, put on an unbroken line of time, resampled and encoded again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.context import Flags

from vsr.demux import READ_ERRORS
from vsr.errors import OutputError
from vsr.report import Report

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.packet import Packet
    from av.stream import Stream

    from vsr.job import Source

SLACK = Fraction(1, 50)  # s; timestamps may be off by this, about an audio frame, before silence is put in or sound cut
PAUSE = Fraction(1)  # s; a longer gap stays a gap, a shorter one is filled with silence
PCM_PAUSE = Fraction(3600)  # s; the same where samples are only counted: there no gap can stay
WARM_UP = Fraction(1)  # s decoded ahead of the job's range: decoders settle within a few packets
SAMPLES = "dbl"  # exact for any PCM, and packed: of eight channels' planes PyAV (18.1) reads a ninth, which isn't there
LOUDEST = 8.0  # full scale is 1; encoders refuse infinities
SLOWEST = 1000  # samples a second; of fewer, a small file would make hours of sound
FRAME = {"aac": 1024, "libopus": 960}  # samples a packet
PCM_FRAME = 1024  # at most, where FFmpeg reads it from MP4 and MOV
BITS = {"aac": 96_000, "libopus": 64_000}  # a second and channel: transparent for nearly everybody
AAC_MOST = 4  # bits a sample, where the rate is low; 6 is all that the format holds

# The layouts that every player knows, by number of channels: ISO/IEC 14496-3 table 1.19, RFC 7845 5.1.1.2.
LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1", "7.1"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
}
OPUS_STREAMS = {1: (1, 0), 2: (1, 1), 3: (2, 1), 4: (2, 2), 5: (3, 2), 6: (4, 2), 7: (4, 3), 8: (5, 3)}
WIDER = {"2.1": "5.1", "3.1": "5.1", "4.1": "5.1"}  # the next layout that keeps the low frequency channel


@dataclass(frozen=True, kw_only=True)
class SoundCodec:
    """How a sound track is encoded anew; `rate` in samples a second, `bit_rate` in bits a second."""

    encoder: str
    rate: int
    layout: str
    bit_rate: int

    @property
    def frame(self) -> Fraction:
        """Seconds of one packet."""
        return Fraction(FRAME.get(self.encoder, PCM_FRAME), self.rate)

    @property
    def pause(self) -> Fraction:
        """Seconds of the longest gap that becomes silence."""
        return PCM_PAUSE if is_pcm(self.encoder) else PAUSE

    def open(self, *, global_header: bool) -> AudioCodecContext:
        context: Any = av.CodecContext.create(self.encoder, "w")
        context.sample_rate, context.layout, context.bit_rate = self.rate, self.layout, self.bit_rate
        context.format = av.Codec(self.encoder, "w").audio_formats[-1].name  # type: ignore[index]
        context.time_base = Fraction(1, self.rate)
        if global_header:
            context.flags |= int(Flags.global_header)
        context.open()
        return context  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"{self.encoder.removeprefix('lib')}, {self.layout}, {self.bit_rate // 1000} kb/s"


def is_pcm(codec: str) -> bool:
    """Whether it is samples as they are. MP4 and MOV only count them: packets have other sizes there, gaps close."""
    return codec.startswith("pcm_")


def choose(stream: Stream, encoder: str) -> SoundCodec:
    """The encoder's settings that keep a track's channels and rate, or the nearest that do."""
    context: Any = stream.codec_context
    name, channels = context.layout.name, context.layout.nb_channels
    layouts = LAYOUTS.get(encoder, LAYOUTS["libopus"])
    layout = name if name in layouts else WIDER.get(name, layouts[min(max(channels, 1), len(layouts)) - 1])
    if is_pcm(encoder):
        layout = layout if name.endswith(" channels") else name  # an MP4 with channels of no name can't be ended
        bit_rate = context.sample_rate * channels * context.format.bits
        return SoundCodec(encoder=encoder, rate=context.sample_rate, layout=layout, bit_rate=bit_rate)
    rate = 48000
    if encoder == "aac":
        rates = av.Codec(encoder, "w").audio_rates or [rate]
        rate = min((known for known in rates if known >= context.sample_rate), default=max(rates))
    each = min(BITS[encoder], AAC_MOST * rate) if encoder == "aac" else BITS[encoder]
    return SoundCodec(encoder=encoder, rate=rate, layout=layout, bit_rate=each * av.AudioLayout(layout).nb_channels)


def decode(stream: Stream, packet: Packet[Any] | None, report: Report) -> list[AudioFrame]:
    """The frames of a packet, or at the end those still inside the decoder; one that can't be decoded is counted."""
    context: Any = stream.codec_context
    try:
        return context.decode(packet)  # type: ignore[no-any-return]
    except READ_ERRORS as error:
        where = "at the end" if packet is None else f"packet at pts {packet.pts}"
        report.damaged(f"track {stream.index}, {where}: {getattr(error, 'strerror', None) or error}")
        return []


def is_eac3(packet: bytes) -> bool:
    """Whether a packet of Dolby's sound is of the later kind: ETSI TS 102 366 E.1.3.1.6, bsid 11 to 16."""
    return packet[:2] == b"\x0b\x77" and len(packet) > 5 and 10 < packet[5] >> 3 <= 16


def splits_as_known(extradata: bytes | None) -> bool:
    """Whether Opus's channels are paired as transport streams take for granted; only these have no place for its head.

    RFC 7845 5.1.1: number of channels, mapping family, streams, pairs. Encoders pair 6.1 in two ways.
    """
    head = (extradata or b"") + bytes(21)
    return head[18] == 0 or head[18] == 1 and head[19:21] == bytes(OPUS_STREAMS.get(head[9], ()))


class Transcoder:
    """One sound track: packets in, packets out.

    What is heard keeps its time to `SLACK`: samples are placed by their timestamps, counted from the job's origin. Gaps
    up to the codec's `pause` become silence; after a longer one the encoder starts afresh.

    Args:
        stream: of the source; its decoder is used.
        target: of the output.
        codec: how to encode.
        source: gives range and origin.
        report: counts packets that can't be decoded.
        global_header: whether the container keeps the encoder's header apart.
    """

    def __init__(
        self, stream: Stream, target: Stream, codec: SoundCodec, source: Source, report: Report, *, global_header: bool
    ) -> None:
        self._stream, self._target, self._codec, self._report = stream, target, codec, report
        self._global_header = global_header
        self._origin = source.origin
        begin, end = source.range
        self._needed = -inf if begin is None else begin - WARM_UP, inf if end is None else end
        self._first = None if begin is None else self._sample(begin)
        self._last = None if end is None else self._sample(end)
        self._resampler: AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None
        self._heard: Fraction | None = None  # where the sound decoded so far ends
        self._encoder: AudioCodecContext | None = None
        self._next: int | None = None  # the sample after those encoded so far

    def push(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Encoded packets that `packet` completed."""
        time, (first, last) = packet.pts if packet.pts is not None else packet.dts, self._needed
        if time is None or first <= time * packet.time_base <= last:
            for frame in decode(self._stream, packet, self._report):
                yield from self._resampled(frame)

    def drain(self) -> Iterator[Packet[Any]]:
        """The rest."""
        for frame in decode(self._stream, None, self._report):
            yield from self._resampled(frame)
        yield from self._flushed()
        yield from self._finished()

    def _sample(self, time: Fraction) -> int:
        return round((time - self._origin) * self._codec.rate)

    def _resampled(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        """What was decoded, placed; at a jump in time or another shape the resampler starts afresh."""
        base, shape = frame.time_base or Fraction(1), (frame.format.name, frame.layout.name, frame.sample_rate)
        if frame.pts is None:
            frame.pts = round((self._heard or self._origin) / base)
        start = frame.pts * base
        if self._heard is not None and (shape != self._shape or abs(start - self._heard) > SLACK):
            yield from self._flushed()
        self._shape, self._heard = shape, start + Fraction(frame.samples, frame.sample_rate)
        if self._resampler is None:
            self._resampler = AudioResampler(SAMPLES, self._codec.layout, self._codec.rate)
        for ready in self._resampler.resample(frame):
            yield from self._placed(ready)

    def _flushed(self) -> Iterator[Packet[Any]]:
        rest = self._resampler.resample(None) if self._resampler else []
        self._resampler = None
        for ready in filter(None, rest):
            yield from self._placed(ready)

    def _placed(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        """Samples put where their time says, without those outside the range or already there."""
        codec, samples = self._codec, frame.to_ndarray().reshape(frame.samples, -1)
        at = self._sample((frame.pts or 0) * (frame.time_base or Fraction(1)))
        if self._next is not None and abs(at - self._next) <= SLACK * codec.rate:
            at = self._next
        if self._next is not None and at + len(samples) <= self._next:
            self._report.damaged(f"sound at {at / codec.rate:.3f} s is there already: left out")
            return
        skip = max([0, *(first - at for first in (self._first, self._next) if first is not None)])
        samples = samples[skip : None if self._last is None else max(0, self._last - at)]
        if len(samples):
            yield from self._filled(at + skip)
            yield from self._encoded(at + skip, samples)

    def _filled(self, at: int) -> Iterator[Packet[Any]]:
        """What comes between the samples encoded so far and those that begin at `at`: silence, or nothing."""
        codec, channels = self._codec, av.AudioLayout(self._codec.layout).nb_channels
        if self._next is None or at - self._next <= codec.pause * codec.rate:
            for begin in range(at if self._next is None else self._next, at, codec.rate):
                yield from self._encoded(begin, np.zeros((min(codec.rate, at - begin), channels)))
        elif is_pcm(codec.encoder):
            gap = f"{(at - self._next) / codec.rate:.0f} s without sound before {at / codec.rate:.0f} s"
            raise OutputError(f"track {self._stream.index}: {gap}, and PCM knows no gaps there; --audio transcode does")
        else:
            yield from self._finished()

    def _encoded(self, at: int, samples: Any) -> list[Packet[Any]]:
        if self._encoder is None:
            self._encoder = self._codec.open(global_header=self._global_header)
        self._next = at + len(samples)
        sane = np.clip(np.nan_to_num(samples), -LOUDEST, LOUDEST).reshape(1, -1)
        frame = AudioFrame.from_ndarray(sane, format=SAMPLES, layout=self._codec.layout)
        frame.sample_rate, frame.time_base, frame.pts = self._codec.rate, Fraction(1, self._codec.rate), at
        return self._assigned(self._encoder.encode(frame))

    def _finished(self) -> list[Packet[Any]]:
        rest = self._assigned(self._encoder.encode(None)) if self._encoder else []
        self._encoder = None
        return rest

    def _assigned(self, coded: list[Packet[Any]]) -> list[Packet[Any]]:
        for packet in coded:
            packet.stream = self._target  # its time base is the encoder's, a sample
        return coded


Span = tuple[Fraction, Fraction]


def spans(frames: Iterable[Span], gap: Fraction) -> list[Span]:
    """(start, end) of frames in the order decoded, those less than `gap` apart joined."""
    joined: list[Span] = []
    for start, end in frames:
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
