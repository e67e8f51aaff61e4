"""What tracks and files say of themselves, and what of it each container can hold."""

from __future__ import annotations

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
