"""What tracks and files say of themselves, and what of it each container can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from av.stream import Disposition

if TYPE_CHECKING:
    from av.stream import Stream

# Said of the input's own bytes, or written by the muxer itself; case aside.
PRIVATE = (
    "encoder major_brand minor_version compatible_brands duration bps number_of_frames number_of_bytes alpha_mode "
    "enc_key_id filename mimetype software "
    # FLV's index, which its demuxer gives as tags
    "hasmetadata hasvideo hasaudio haskeyframes canseektoend datasize videosize audiosize audiodelay lasttimestamp "
    "lastkeyframetimestamp lastkeyframelocation metadatacreator metadatadate"
)
SERVICE = 200  # bytes of its name: a descriptor holds 255, with what else there is (ETSI EN 300 468, 6.2.33)
STATISTICS = ("_statistics_", "bps-", "duration-", "number_of_frames-", "number_of_bytes-")

# What a track is for, as far as reading the file back tells it again.
_MP4 = "default dub comment forced hearing_impaired visual_impaired captions descriptions"
DISPOSITIONS: Mapping[str, str] = {
    "mp4": _MP4,
    "mov": "default",
    "matroska": "default dub original comment forced hearing_impaired visual_impaired",
    "webm": "default forced",
    "mpegts": "",
}

# Tags of the whole file; MP4's are iTunes', MOV's are user data. Matroska takes any name.
_ITUNES = (
    "title artist album_artist composer album date comment genre copyright grouping lyrics description synopsis show "
    "episode_id network keywords episode_sort season_number media_type hd_video gapless_playback compilation track "
    "disc location creation_time timecode"
)
_USER_DATA = "title artist album date comment genre copyright make model location creation_time timecode"
FILE_TAGS: Mapping[str, str | None] = {
    "mp4": _ITUNES,
    "mov": _USER_DATA,
    "matroska": None,
    "webm": None,
    "mpegts": "",
}

# ISO 639-2 codes that FFmpeg finds among QuickTime's own, and those it only finds under another name.
_QUICKTIME = (
    "eng fra ger ita dut sve spa dan por nor heb jpn ara fin gre ice mlt tur chi urd hin tha kor lit pol hun est lav "
    "rus iri per alb ron ces slk slv yid mac bul ukr bel uzb kaz aze arm geo mol kir tgk tuk mon pus kur kas snd tib "
    "nep san mar ben asm guj ori mal kan tam tel bur khm lao vie ind tgl may amh tir orm som swa run mlg epo wel baq "
    "cat lat que grn aym tat uig dzo jav"
)
_QUICKTIME_NAMES = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi", "fas": "per", "sqi": "alb",
    "mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may", "cym": "wel", "eus": "baq",
    "fre": "fra", "rum": "ron", "cze": "ces", "slo": "slk",
}  # fmt: skip


def stored_language(language: str, muxer: str) -> str:
    """The code that keeps a track's language in the file, "" where none does: MOV knows a hundred, by one name each."""
    if muxer != "mov":
        return language
    name = _QUICKTIME_NAMES.get(language, language)
    return name if name in _QUICKTIME.split() else ""


def kept_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """The tags that are as true of the output as of the input."""
    return {
        key: value
        for key, value in metadata.items()
        if value and key.lower() not in PRIVATE.split() and not key.lower().startswith(STATISTICS)
    }


def file_tags(metadata: Mapping[str, str], muxer: str) -> dict[str, str]:
    """What the output says of itself as a whole; in transport streams a title names the service, if it is short."""
    kept = kept_tags(metadata)
    return {k: v for k, v in kept.items() if muxer != "mpegts" or len(v.encode()) <= SERVICE}


def tag(metadata: Mapping[str, str], *names: str) -> str:
    """The value of the first of these tags, whatever the case of its name; "" where there is none."""
    known = {key.lower(): value for key, value in metadata.items()}
    return next((known[name] for name in names if known.get(name)), "")


def title(stream: Stream) -> str:
    """A track's title; MP4 calls it name."""
    return tag(stream.metadata, "title", "name")


def language(stream: Stream) -> str:
    """A track's language, "" where nobody knows."""
    found = tag(stream.metadata, "language")
    return "" if found == "und" else found


def track_tags(stream: Stream, muxer: str) -> dict[str, str]:
    """What a track of the output says of itself."""
    kept = {key: value for key, value in kept_tags(stream.metadata).items() if key.lower() not in ("name", "language")}
    kept |= {"title": title(stream)} if title(stream) else {}
    code = stored_language(language(stream), muxer)
    return kept | ({"language": code} if code else {})


def held(stream: Stream, muxer: str) -> Disposition:
    """What a track is for, as far as the output can say it."""
    known = Disposition(0)
    for name in DISPOSITIONS[muxer].split():
        known |= Disposition[name]
    return stream.disposition & known


def lost_tags(stream: Stream, muxer: str) -> list[str]:
    """What the output can't say of a track."""
    missing = stream.disposition & ~held(stream, muxer) & ~(Disposition.default | Disposition.attached_pic)
    lost = [kind.name or "" for kind in Disposition if kind & missing]
    stored = stored_language(language(stream), muxer) and not (muxer == "mpegts" and stream.type == "video")
    if language(stream) and not stored:
        lost.insert(0, f"language {language(stream)}")
    return [*lost, "title"] if title(stream) and muxer == "mpegts" else lost


def is_keyed(metadata: Mapping[str, str], muxer: str, *, covers: bool) -> bool:
    """Whether MP4 or MOV should store tags by free names, as phones do; then there is no place for cover art."""
    return muxer in ("mp4", "mov") and not covers and any(key.startswith("com.") for key in metadata)


def lost_file_tags(metadata: Mapping[str, str], muxer: str, *, covers: bool) -> list[str]:
    """Tags of the whole file that the output can't hold."""
    known = FILE_TAGS[muxer]
    if known is None or is_keyed(metadata, muxer, covers=covers):
        return []
    names = (key for key in kept_tags(metadata) if not key.endswith("-eng"))  # FFmpeg gives some twice
    return [key for key in names if key.lower() not in known.split()]
