"""What the tracks of the output say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsr.tags import held, language, stored_language, title

if TYPE_CHECKING:
    from av.stream import Stream


def check_tags(name: str, original: Stream, written: Stream, muxer: str) -> list[str]:
    """Language, title and purpose; a container may add to the last: MP4 marks a first track as default."""
    wrong = []
    planned = stored_language(language(original), muxer)
    if planned != language(written) and not (muxer == "mpegts" and original.type == "video"):
        wrong.append(f"{name}: language is {language(written) or 'und'}")
    if title(original) and muxer != "mpegts" and title(original) != title(written):
        wrong.append(f"{name}: title is {title(written)!r} instead of {title(original)!r}")
    return wrong + check_purpose(name, original, written, muxer)


def check_purpose(name: str, original: Stream, written: Stream, muxer: str) -> list[str]:
    """Whether the track is played by default, forced, and so on."""
    should, is_ = held(original, muxer), held(written, muxer)
    added = is_ & ~should if muxer in ("matroska", "webm") else type(is_)(0)  # these say no more than they are told
    default = type(is_).default
    if (should & ~is_ | added) & default:
        return [f"{name}: played by default is {bool(is_ & default)}"]
    wrong = [(kind.name, bool(is_ & kind)) for kind in type(is_) if kind & (should & ~is_ | added)]
    return [f"{name}: {kind} is {value}" for kind, value in wrong]
