"""What an input may be made of: containers, decoders and sizes beyond which nothing is tried (docs/security.md).

FFmpeg has 400 demuxers and 500 decoders; a flaw in any of them is reachable by a file that merely names it. These lists
have what people's videos are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vsr.errors import InputError
from vsr.settings import Limits

if TYPE_CHECKING:
    from av.codec.context import CodecContext

# Containers that hold media and nothing else: no playlists, no scripts, nothing that opens further files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,h261,h263,"
    "vc1,asf,ogg,mxf,nut,gif,apng,yuv4mpegpipe,rm,wtv,dv,dirac,swf,nsv,amv,vob"
)
_VIDEO = (
    "mpeg1video mpeg2video mpegvideo mpeg4 msmpeg4v1 msmpeg4v2 msmpeg4 wmv1 wmv2 wmv3 vc1 h261 h263 h263i h263p flv "
    "h264 hevc vvc av1 libdav1d vp3 vp4 vp5 vp6 vp6a vp6f vp7 vp8 vp9 libvpx libvpx-vp9 theora dirac snow cavs "
    "prores dnxhd dvvideo cfhd hap speedhq aic ffv1 huffyuv ffvhuff utvideo lagarith fraps sheervideo qtrle zmbv "
    "camtasia tscc2 flashsv flashsv2 rawvideo v210 v308 v408 v410 yuv4 y41p r210 r10k 8bps cljr asv1 asv2 "
    "cinepak svq1 svq3 rpza smc rv10 rv20 rv30 rv40 indeo2 indeo3 indeo4 indeo5 msrle msvideo1 amv "
    "mjpeg mjpegb jpeg2000 jpegls png apng gif webp bmp tiff"
)
_SOUND = (
    "aac aac_latm ac3 eac3 mp1 mp1float mp2 mp2float mp3 mp3float dca truehd mlp flac alac opus libopus vorbis speex "
    "wmav1 wmav2 wmapro wmalossless wmavoice amrnb amrwb libopencore_amrnb libopencore_amrwb cook sipr real_144 "
    "real_288 atrac3 qdm2 qcelp mace3 mace6 nellymoser gsm gsm_ms g722 g726 ilbc evrc truespeech tta wavpack ape als "
    "s302m dvaudio adpcm_ima_wav adpcm_ima_qt adpcm_ima_amv adpcm_ms adpcm_swf adpcm_yamaha pcm_alaw pcm_mulaw pcm_u8 "
    "pcm_s8 pcm_s8_planar pcm_s16le pcm_s16be pcm_s16le_planar pcm_s16be_planar pcm_u16le pcm_u16be pcm_s24le "
    "pcm_s24be pcm_s24le_planar pcm_s32le pcm_s32be pcm_s32le_planar pcm_f32le pcm_f32be pcm_f64le pcm_f64be "
    "pcm_bluray pcm_dvd"
)
_TEXT = "ass ssa subrip srt mov_text webvtt text cc_dec dvbsub dvdsub pgssub xsub"
DECODERS = frozenset(f"{_VIDEO} {_SOUND} {_TEXT}".split())
STREAMS = 256  # tracks and attachments: a film with a hundred fonts passes
LIMITS = Limits()
PADDING = 1 << 16  # samples beyond the picture and an eighth of it that decoders take for whole blocks and aligned rows
GROWTH = 4  # the result may have this many times the samples that a picture of the input may have


def opening(limits: Limits) -> dict[str, str]:
    """Options for a container; what they say of decoders binds only the pictures FFmpeg decodes while it opens."""
    return {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "file",
        "codec_whitelist": ",".join(sorted(DECODERS)),
        "max_streams": str(STREAMS + 1),  # with some containers the rest is just left out, so one more tells
        "max_pixels": str(min(limits.max_pixels + limits.max_pixels // 8 + PADDING, 2**31 - 1)),
    }


def bind(context: CodecContext | None, limits: Limits) -> None:
    """Puts the limits on a decoder that isn't open yet: those given at opening don't reach it."""
    if context is not None:
        given: dict[str, Any] = dict(context.options)
        context.options = given | {k: opening(limits)[k] for k in ("codec_whitelist", "max_pixels")}


def check_size(name: str, width: int, height: int, limits: Limits) -> None:
    """Raises InputError for a picture with more samples than the limits allow."""
    if width * height > limits.max_pixels:
        allowed = f"{limits.max_pixels / 1e6:.3g} million"
        raise InputError(f"{name}: {width}x{height} is over the limit of {allowed} pixels (--max-pixels raises it)")


def fitting(name: str, width: int, height: int, scale: int, limits: Limits) -> Limits:
    """The limits of a run that upscales by `scale`, so that no picture's result is beyond what is allowed.

    Raises:
        InputError: the first picture's already is.
    """
    most = GROWTH * limits.max_pixels // scale**2
    if width * height > most:
        raise InputError(
            f"{name}: {width * scale}x{height * scale} is over the limit of {GROWTH * limits.max_pixels / 1e6:.3g} "
            "million pixels for a result (--max-pixels raises it)"
        )
    return Limits(max_pixels=min(limits.max_pixels, most), timeout=limits.timeout)
