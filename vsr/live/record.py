"""Sink: what FFmpeg writes at a constant rate, a file, a stream or a virtual camera, with the source's sound copied."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from vsr import fit
from vsr.colour import write_tags
from vsr.errors import OutputError, UsageError
from vsr.frame import Frame, Planes
from vsr.live.feeds import bare
from vsr.live.goal import coded
from vsr.live.pace import Pace
from vsr.live.protocol import RATE, Console, Policy, Shown, Sound, Source
from vsr.report import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from av.video.stream import VideoStream

FILES = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".ts": "mpegts"}
STREAMS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "udp": "mpegts", "tcp": "mpegts"}
HELD = 512  # packets of sound that wait for the first picture
CAMERA = "no such device; v4l2loopback makes one: modprobe v4l2loopback exclusive_caps=1"
NOW = {"max_interleave_delta": "200000", "flush_packets": "1"}  # microseconds that one track may wait for the other


@dataclass(frozen=True)
class Form:
    """How a target is written.

    Args:
        options: of the encoder; `written` those of the muxer.
        named: for the screen.
        keys: seconds between key frames, where somebody may join late; 0 leaves it to the encoder.
    """

    muxer: str
    codec: str
    named: str
    policy: Policy
    options: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    keys: int = 0


def form_of(target: str, *, overwrite: bool) -> Form:
    """Raises UsageError or OutputError for what can't be written."""
    scheme = target.partition("://")[0].lower() if "://" in target else ""
    if scheme:
        if scheme not in STREAMS:
            raise UsageError(f"{bare(target)}: no streams to {scheme}:// ({', '.join(STREAMS)} are known)")
        options = {"preset": "superfast", "tune": "zerolatency", "crf": "20"}
        written = NOW | ({"rtsp_transport": "tcp"} if scheme == "rtsp" else {})
        return Form(STREAMS[scheme], "libx264", bare(target), "all", options, written, keys=2)
    if target.startswith("/dev/"):
        if not Path(target).is_char_device():
            raise OutputError(f"{target}: {CAMERA}")
        return Form("v4l2", "rawvideo", f"camera {target}", "newest")
    path = Path(target)
    if path.suffix.lower() not in FILES:
        raise UsageError(f"--sink {target}: window, null, y4m, /dev/videoN, an address or a file ({' '.join(FILES)})")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; --overwrite replaces it")
    return Form(FILES[path.suffix.lower()], "libx264", target, "all", {"preset": "veryfast", "crf": "18"})


class RecordSink:
    """Encodes and writes; see `form_of`.

    Args:
        say: is told what of the source the target can't have.
    """

    def __init__(
        self, target: str, form: Form, *, say: Callable[[str], None] = lambda line: None, clock: Clock = time.monotonic
    ) -> None:
        self.label, self.policy = form.named, form.policy
        self._name, self._form, self._say, self._clock = target, form, say, clock
        self._video: VideoStream | None = None
        self._planes: Planes | None = None  # that `_picture` was made of
        self._held: list[Sound] = []
        self._heard = -1  # decoding time of the last packet of sound, in ticks

    def begin(self, console: Console, source: Source) -> None:
        rate = source.rate or RATE
        self._console, self._rate, self._pace = console, rate, Pace(rate, self._write)
        with self._writing():
            self._target: Any = av.open(self._name, "w", format=self._form.muxer, options=dict(self._form.written))
        self._sound = self._track(source.sound)

    def _track(self, sound: Any) -> Any:
        """The target's track of the source's sound; None where there is none or it has no place for it."""
        if sound is None or self._form.codec == "rawvideo":
            return None
        try:
            # That a codec passes is known once a header was written; RTSP connects for that.
            if self._form.muxer != "rtsp":
                with av.open(os.devnull, "w", format=self._form.muxer) as trial:
                    trial.add_stream_from_template(sound)
                    trial.start_encoding()
            return self._target.add_stream_from_template(sound)
        except (av.error.FFmpegError, ValueError):
            name = sound.codec_context.codec.canonical_name
            self._say(f"{self.label}: without sound, as {self._form.muxer} has no place for {name}")
            return None

    def hear(self, sound: Sound) -> None:
        """Sound from before the first picture is left out; that waits until the picture is known."""
        if self._sound is None:
            return
        if self._video is None:
            self._held = [*self._held[1 - HELD :], sound]
            return
        packet = sound.packet
        if packet.pts is None:
            return
        shift = round(Fraction(self._pace.origin) / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, (packet.dts if packet.dts is not None else packet.pts) - shift
        if packet.pts < 0 or packet.dts <= self._heard:
            self._console.count("dropped sound")
            return
        self._heard, packet.stream = packet.dts, self._sound
        with self._writing():
            self._target.mux(packet)

    def show(self, shown: Shown) -> None:
        self._pace.show(shown, self._console)

    def idle(self) -> None:
        self._pace.idle(self._clock(), self._console)

    def wants(self) -> bool:
        return True

    def close(self) -> None:
        """Writes what the encoder still has, and the end of the file."""
        with self._writing():
            if self._video is not None:
                self._target.mux(self._video.encode(None))
            self._target.close()

    def _write(self, frame: Frame, place: int) -> None:
        video = self._video or self._opened(frame)
        if frame.planes is not self._planes:  # else it is the one before again
            self._planes, self._picture = frame.planes, fit.picture(frame, self._goal)
        self._picture.pts, self._picture.time_base = place, 1 / self._rate
        with self._writing():
            self._target.mux(video.encode(self._picture))

    def _opened(self, frame: Frame) -> VideoStream:
        """The track of pictures, as the first one is known; then the sound that waited."""
        self._goal = coded(frame, self._form.codec, self._form.options)
        encoder = self._goal.encoder
        assert encoder is not None
        if frame.format.pix_fmt != encoder.pix_fmt:
            self._say(f"{self.label}: {frame.format.pix_fmt} is stored as {encoder.pix_fmt}")
        location = frame.facts.colour.chroma_location
        sited = encoder.codec == "libx264" and frame.format.chroma == "420" and location != "unspecified"
        options = dict(encoder.options) | ({"chroma_sample_location": location} if sited else {})
        if self._form.keys:
            options["g"] = str(round(self._form.keys * self._rate))
        with self._writing():
            video: VideoStream = self._target.add_stream(encoder.codec, rate=self._rate, options=options)
            context = video.codec_context
            context.width, context.height, context.pix_fmt = encoder.width, encoder.height, encoder.pix_fmt
            context.time_base, context.sample_aspect_ratio = 1 / self._rate, encoder.aspect
            context.thread_count = encoder.threads
            write_tags(context, frame.facts.colour)
        self._video = video
        for sound in self._held:
            self.hear(sound)
        self._held = []
        return video

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise OutputError(
                f"{self.label}: can't be written ({getattr(error, 'strerror', None) or error})"
            ) from error
