"""The table of encoders is true, and no sample is lost by the one that is chosen."""

from __future__ import annotations

import re
from pathlib import Path

import av
import pytest
from av.codec.context import CodecContext

from clips import Clip, frames
from vsr.encoders import ENCODERS, choose_encoder, decoded_as, even, finer, handed
from vsr.errors import OutputError, UsageError
from vsr.frame import PlanarFormat
from vsr.settings import EncodeSettings
from vsr.tracks import CONTAINERS, container_for

SOFTWARE = [codec for codec, facts in ENCODERS.items() if not facts.hardware]
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".ts")


@pytest.mark.parametrize(("codec", "pix_fmt"), [(c, name) for c in SOFTWARE for name in ENCODERS[c].stores])
def test_an_encoder_stores_what_the_table_says(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    clip = Clip(codec=codec, pix_fmt=pix_fmt, size=(96, 64), pts=range(3), options=ENCODERS[codec].defaults)
    file = clip.write(tmp_path / ("a.mov" if codec == "prores_ks" else "a.mkv"))
    assert [shown.pix_fmt for shown in frames(file)] == [decoded_as(codec, pix_fmt)] * 3


def table(columns: int) -> list[list[str]]:
    """The cells of docs/encoders.md's table of so many columns."""
    lines = (Path(__file__).parent.parent / "docs" / "encoders.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if len(row) == columns][2:]


def test_the_page_tells_what_containers_take() -> None:
    told = {
        suffix: tuple(tuple(filter(None, cell.split(", "))) for cell in cells)
        for names, *cells in table(4)
        for suffix in re.findall(r"`(.\w+)`", names)
    }
    assert told == {suffix: (kind.encoders, kind.further, kind.alpha) for suffix, kind in CONTAINERS.items()}


def test_the_page_tells_what_encoders_store() -> None:
    assert [row[0].split(",")[0] for row in table(6)] == list(ENCODERS)
    for (_, chroma, bits, alpha, *options), facts in zip(table(6), ENCODERS.values(), strict=True):
        formats = [PlanarFormat.of(name) or PlanarFormat() for name in facts.stores]
        depths = {format.depth for format in formats if not format.alpha}
        assert set(chroma.replace(":", "").split(", ")) == {format.chroma for format in formats if not format.alpha}
        assert set(map(int, re.findall(r"\d+", bits))) == ({min(depths), max(depths)} if "to" in bits else depths)
        assert bool(alpha) == any(format.alpha for format in formats)
        assert options == [f"{o} ({facts.defaults[o]})" if o else "" for o in (facts.quality, facts.effort)]


@pytest.mark.parametrize("codec", ENCODERS)
def test_every_option_of_the_table_is_one(codec: str) -> None:
    facts = ENCODERS[codec]
    options = CodecContext.create(codec, "w").supported_options
    known = {option.name for option in (*options.generic, *options.private)}
    assert known >= {*facts.defaults, *filter(None, (facts.quality, facts.effort))}
    assert bool(facts.instead) == (not facts.quality or not facts.effort)
    wheel = {format.name for format in av.Codec(codec, "w").video_formats or ()}
    assert wheel >= {handed(codec, name) for name in facts.stores}


@pytest.mark.parametrize("codec", SOFTWARE)
def test_a_container_takes_the_encoders_it_names(codec: str) -> None:
    for suffix, container in CONTAINERS.items():
        assert len({*container.encoders, *container.further}) == len(container.encoders) + len(container.further)
        if codec in (*container.encoders, *container.further):
            choose_encoder(PlanarFormat.of(ENCODERS[codec].stores[0]) or PlanarFormat(), container,
                           EncodeSettings(codec=codec), f"a{suffix}")  # fmt: skip
        else:
            with pytest.raises(UsageError, match=rf"a\{suffix}: no place for {codec} in {container.muxer} \(it takes "):
                choose_encoder(PlanarFormat(), container, EncodeSettings(codec=codec), f"a{suffix}")


EVERY = [PlanarFormat(chroma=c, depth=d) for c in ("grey", "420", "422", "444") for d in (8, 9, 10, 12, 14, 16)]  # type: ignore[arg-type]
REFUSED = {  # what no encoder of a container stores; everything else is kept
    ".mp4": ("14", "16"),
    ".mov": ("14", "16"),
    ".mkv": (),
    ".ts": ("14", "16"),
    ".webm": ("12", "14", "16", "422p9", "422p10", "444p9", "444p10"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("format", EVERY, ids=lambda format: format.pix_fmt)
def test_each_format_is_kept_or_refused(format: PlanarFormat, suffix: str) -> None:
    name = f"a{suffix}"
    if format.pix_fmt.removesuffix("le").endswith(REFUSED[suffix]):
        with pytest.raises(OutputError, match=f"{name}: no encoder for {format.pix_fmt} in this container; .mkv takes"):
            choose_encoder(format, container_for(name), EncodeSettings(), name)
        return
    stored = PlanarFormat.of(choose_encoder(format, container_for(name), EncodeSettings(), name)[1])
    assert stored is not None
    assert stored.depth >= format.depth
    assert finer(stored, format)


def chosen(samples: str, output: str, **settings: str) -> tuple[str, str]:
    format = PlanarFormat.of(samples)
    assert format is not None
    return choose_encoder(format, container_for(output), EncodeSettings(**settings), output)[:2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pix_fmt", "output", "codec", "stored"),
    [
        ("yuv420p", "a.mp4", "libx264", "yuv420p"),
        ("yuv422p10le", "a.mkv", "libx264", "yuv422p10le"),
        ("yuv420p9le", "a.mp4", "libx264", "yuv420p10le"),
        ("yuv420p12le", "a.mp4", "libx265", "yuv420p12le"),
        ("yuv444p12le", "a.ts", "libx265", "yuv444p12le"),
        ("gray", "a.mp4", "libx264", "gray"),
        ("gray12le", "a.mp4", "libx265", "gray12le"),
        ("yuv444p16le", "a.mkv", "ffv1", "yuv444p16le"),
        ("yuv420p", "a.webm", "libvpx-vp9", "yuv420p"),
        ("yuv444p", "a.webm", "libvpx-vp9", "yuv444p"),
        ("yuv420p10le", "a.webm", "libsvtav1", "yuv420p10le"),
    ],
)
def test_the_encoder_keeps_depth_and_chroma(pix_fmt: str, output: str, codec: str, stored: str) -> None:
    assert chosen(pix_fmt, output) == (codec, stored)


@pytest.mark.parametrize(
    ("pix_fmt", "output"), [("yuv444p16le", "a.mp4"), ("yuv422p10le", "a.webm"), ("gray16le", "a.ts")]
)
def test_no_encoder_is_said_before_the_run(pix_fmt: str, output: str) -> None:
    with pytest.raises(OutputError, match=f"{output}: no encoder for {pix_fmt} in this container; .mkv takes it"):
        chosen(pix_fmt, output)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"codec": "libx266"}, "no encoder named libx266 here"),
        ({"codec": "libsvtav1"}, "libsvtav1 can't store yuv444p"),
        ({"pix_fmt": "yuv999p"}, "libx264 can't store yuv999p"),
        ({"codec": "aac"}, "aac can't store yuv444p"),
    ],
)
def test_a_choice_that_cannot_be(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        chosen("yuv444p", "a.mp4", **settings)


def test_options_reach_the_encoder() -> None:
    container, format = container_for("a.mp4"), PlanarFormat()
    options = choose_encoder(format, container, EncodeSettings(crf=21.5, preset="slow", options={"tune": "film"}), "")[
        2
    ]
    assert options == {"preset": "slow", "crf": "21.5", "tune": "film"}
    settings = EncodeSettings(codec="libvpx-vp9", preset="3", options={"crf": "9"})
    options = choose_encoder(format, container, settings, "")[2]
    assert (options["cpu-used"], options["crf"]) == ("3", "9")
    assert "preset" not in options
    settings = EncodeSettings(codec="libx265", options={"x265-params": "keyint=5"})
    assert choose_encoder(format, container, settings, "")[2]["x265-params"] == "log-level=error:keyint=5"


@pytest.mark.parametrize(
    ("size", "codec", "pix_fmt", "expected"),
    [
        ((47, 33), "libx264", "yuv420p", (48, 34)),
        ((47, 33), "libx265", "yuv422p10le", (48, 33)),
        ((47, 33), "libx264", "yuv444p", (47, 33)),
        ((47, 33), "libx264", "gray", (47, 33)),
        ((47, 33), "libvpx-vp9", "yuv420p", (47, 33)),
        ((47, 33), "ffv1", "yuv420p", (47, 33)),
        ((48, 34), "libx264", "yuv420p", (48, 34)),
        ((47, 33), "prores_ks", "yuva444p10le", (47, 33)),
    ],
)
def test_even_sizes_only_where_they_must(
    size: tuple[int, int], codec: str, pix_fmt: str, expected: tuple[int, int]
) -> None:
    assert even(size, codec, pix_fmt) == expected


@pytest.mark.parametrize("codec", [codec for codec, facts in ENCODERS.items() if facts.hardware])
def test_hardware_is_tried_before_it_is_promised(codec: str) -> None:
    try:
        options = choose_encoder(PlanarFormat(), container_for("a.mkv"), EncodeSettings(codec=codec, crf=23), "a.mkv")[
            2
        ]
    except UsageError as error:
        line = (
            f"{codec} doesn't open on this machine, it needs an NVIDIA GPU with that encoder (H100 and H200 have none) "
        )
        assert str(error).startswith(line)  # noqa: PT017
        assert str(error).endswith("; use libx264 or libx265 or ffv1")  # noqa: PT017
    else:
        assert options["cq"] == "23"
        assert "crf" not in options


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"codec": "ffv1", "crf": 9}, "ffv1 has no --crf: it is lossless"),
        ({"codec": "prores_ks", "preset": "slow"}, "prores_ks has no --preset: -x profile="),
        ({"codec": "libx264", "pix_fmt": "nv12"}, "libx264 can't store nv12 .it takes gray, yuv420p"),
        ({"codec": "libx264", "pix_fmt": "yuva420p"}, "libx264 can't store yuva420p"),
        ({"codec": "libvpx-vp9", "pix_fmt": "yuv420p10le"}, "libvpx-vp9 can't store yuv420p10le"),
        ({"codec": "wmv3"}, "wmv3 only decodes"),
    ],
)
def test_what_an_encoder_lacks_is_said(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        choose_encoder(PlanarFormat(), container_for("a.mkv"), EncodeSettings(**settings), "a.mkv")  # type: ignore[arg-type]


def test_a_codec_stands_for_its_encoder() -> None:
    assert chosen("yuv420p", "a.mp4", codec="h264") == ("libx264", "yuv420p")
    assert chosen("yuva420p", "a.webm", codec="vp9") == ("libvpx-vp9", "yuva420p")


@pytest.mark.parametrize(
    ("samples", "output", "stored"),
    [
        ("yuva420p", "a.webm", ("libvpx-vp9", "yuva420p")),
        ("yuva420p", "a.mkv", ("libvpx-vp9", "yuva420p")),
        ("yuva420p10le", "a.mkv", ("ffv1", "yuva420p10le")),
        ("yuva444p", "a.mkv", ("ffv1", "yuva444p")),
        ("ya8", "a.mkv", ("ffv1", "ya8")),
        ("yuva420p", "a.mov", ("prores_ks", "yuva444p10le")),
        ("yuva444p16le", "a.mov", ("prores_ks", "yuva444p10le")),
        ("yuva444p12le", "a.webm", ("libvpx-vp9", "yuva420p")),
        ("yuva420p", "a.mp4", ("libx264", "yuv420p")),
        ("yuva444p12le", "a.ts", ("libx265", "yuv444p12le")),
    ],
)
def test_alpha_outranks_depth_and_chroma(samples: str, output: str, stored: tuple[str, str]) -> None:
    assert chosen(samples, output) == stored
