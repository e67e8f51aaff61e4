"""Where chroma samples sit, as a codec's headers say it: FFmpeg knows, PyAV (18.1) has no attribute for it.

Only what stands before the location in a header is parsed; everything after it (HRD, extensions) is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vsr.frame import ChromaLocation

# H.264 table E-3's chroma_sample_loc_type 0 to 5, H.265 the same.
LOCATIONS: tuple[ChromaLocation, ...] = ("left", "center", "topleft", "top", "bottomleft", "bottom")

# Standards that know one location only, by the decoder's name; summed up at AVChromaLocation in FFmpeg's pixfmt.h.
FIXED: Mapping[str, ChromaLocation] = {
    "h261": "center",  # ITU-T H.261 3.1
    "h263": "center",  # ITU-T H.263 4.1
    "h263p": "center",
    "flv": "center",  # Sorenson's H.263
    "mjpeg": "center",  # JFIF 1.02, "spatial relationship of components"
    "mpeg1video": "center",  # ISO/IEC 11172-2
    "mpeg2video": "left",  # ISO/IEC 13818-2 6.1.1.8
    "mpeg4": "left",  # ISO/IEC 14496-2, as in MPEG-2
}

# profile_idc whose SPS says its chroma format and may carry scaling lists, H.264 7.3.2.1.1.
H264_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
H264_SPS, HEVC_SPS = 7, 33  # nal_unit_type, H.264 table 7-1, H.265 table 7-1
START_CODE = b"\0\0\1"
AV1C = 0x81  # marker and version 1
AV1_POSITIONS: Mapping[int, ChromaLocation] = {1: "left", 2: "topleft"}  # AV1 6.4.2: vertical, colocated


def chroma_location(codec: str, extradata: bytes | None, pix_fmt: str) -> ChromaLocation:
    """Where the chroma samples of a track sit, by its codec's headers.

    Args:
        codec: the decoder, by FFmpeg's name.
        extradata: as FFmpeg keeps it: an avcC, hvcC or av1C box's content, or NAL units with start codes.
        pix_fmt: of the decoded frames; only 4:2:0 has something to tell.

    Returns:
        "unspecified" for other codecs, headers that say nothing, damaged ones, and formats other than 4:2:0. H.264 and
        H.265 streams that say nothing are "left": their standards infer type 0 (E.2.1, H.265 E.3.1). Never raises.
    """
    if "420" not in pix_fmt:
        return "unspecified"
    try:
        return FIXED.get(codec) or _stated(codec, extradata or b"")
    except ValueError:
        return "unspecified"


def _stated(codec: str, extradata: bytes) -> ChromaLocation:
    if codec == "h264":
        units = _annex_b(extradata) if START_CODE in extradata[:4] else _avcc(extradata)
        return next((_h264(BitReader(unit[1:])) for unit in units if unit and unit[0] & 31 == H264_SPS), "unspecified")
    if codec == "hevc":
        units = _annex_b(extradata) if START_CODE in extradata[:4] else _hvcc(extradata)
        return next((_hevc(BitReader(unit[2:])) for unit in units if _is_base_sps(unit)), "unspecified")
    if codec in ("libdav1d", "av1", "libaom-av1"):
        return _av1c(extradata)
    return "unspecified"


def _av1c(extradata: bytes) -> ChromaLocation:
    """AV1 in ISO base media 2.3.3: the last two bits of the third byte are AV1 5.5.2's chroma_sample_position."""
    if len(extradata) < 4 or extradata[0] != AV1C:
        return "unspecified"
    return AV1_POSITIONS.get(extradata[2] & 3, "unspecified")


def _annex_b(extradata: bytes) -> Iterator[bytes]:
    """NAL units between start codes, H.264 annex B; zeros after a unit stay, they are never read."""
    yield from extradata.split(START_CODE)[1:]


def _avcc(extradata: bytes) -> Iterator[bytes]:
    """Sequence parameter sets of an AVCDecoderConfigurationRecord, ISO/IEC 14496-15 5.3.3.1."""
    count, at = int.from_bytes(extradata[5:6], "big") & 31, 6
    for _ in range(count):
        end = at + 2 + int.from_bytes(extradata[at : at + 2], "big")
        yield extradata[at + 2 : end]
        at = end


def _hvcc(extradata: bytes) -> Iterator[bytes]:
    """All NAL units of an HEVCDecoderConfigurationRecord, ISO/IEC 14496-15 8.3.3.1."""
    arrays, at = int.from_bytes(extradata[22:23], "big"), 23
    for _ in range(arrays):
        count, at = int.from_bytes(extradata[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            if at >= len(extradata):
                return
            end = at + 2 + int.from_bytes(extradata[at : at + 2], "big")
            yield extradata[at + 2 : end]
            at = end


def _is_base_sps(unit: bytes) -> bool:
    """A sequence parameter set of layer 0; those of further layers are built otherwise (H.265 annex F)."""
    return len(unit) > 2 and unit[0] >> 1 & 63 == HEVC_SPS and (unit[0] & 1) << 5 | unit[1] >> 3 == 0


class BitReader:
    """A NAL unit's bits, first the most significant, without emulation prevention bytes (H.264 7.3.1).

    Reading past the end raises ValueError.
    """

    def __init__(self, unit: bytes) -> None:
        self._data = unit.replace(b"\0\0\3", b"\0\0")
        self._at = 0

    def u(self, bits: int) -> int:
        """The next bits as an unsigned number."""
        end = self._at + bits
        if end > 8 * len(self._data):
            raise ValueError(f"header ends after {8 * len(self._data)} bits, {end} wanted")
        window = int.from_bytes(self._data[self._at >> 3 : (end + 7) >> 3], "big")
        self._at = end
        return window >> (-end % 8) & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.u(1) == 1

    def ue(self, most: int = 2**32 - 2) -> int:
        """An unsigned Exp-Golomb number (H.264 9.1). Raises ValueError above `most`, which no valid header exceeds."""
        zeros = 0
        while zeros <= 32 and not self.flag():
            zeros += 1
        value = (1 << zeros) - 1 + self.u(zeros)
        if value > most:
            raise ValueError(f"{value} where at most {most} is allowed")
        return value

    def se(self) -> int:
        """A signed Exp-Golomb number (H.264 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def skip_ue(self, count: int) -> None:
        for _ in range(count):
            self.ue()


def _h264(bits: BitReader) -> ChromaLocation:
    """seq_parameter_set_data, H.264 7.3.2.1.1."""
    profile = bits.u(8)
    bits.u(16)  # constraint flags, level_idc
    bits.ue()  # seq_parameter_set_id
    if profile in H264_HIGH:
        _h264_chroma_format(bits)
    bits.ue()  # log2_max_frame_num_minus4
    _h264_picture_order(bits)
    bits.ue()  # max_num_ref_frames
    bits.flag()  # gaps_in_frame_num_value_allowed_flag
    bits.skip_ue(2)  # width, height
    if not bits.flag():  # frame_mbs_only_flag
        bits.flag()  # mb_adaptive_frame_field_flag
    bits.flag()  # direct_8x8_inference_flag
    if bits.flag():  # frame_cropping_flag
        bits.skip_ue(4)
    return _vui(bits)


def _h264_chroma_format(bits: BitReader) -> None:
    chroma_format_idc = bits.ue(3)
    if chroma_format_idc == 3:
        bits.flag()  # separate_colour_plane_flag
    bits.skip_ue(2)  # bit depths
    bits.flag()  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():  # seq_scaling_matrix_present_flag
        for number in range(12 if chroma_format_idc == 3 else 8):
            if bits.flag():
                _h264_scaling_list(bits, 16 if number < 6 else 64)


def _h264_scaling_list(bits: BitReader, size: int) -> None:
    """scaling_list, H.264 7.3.2.1.1.1: a scale of 0 ends the list early."""
    scale = 8
    for _ in range(size):
        scale = (scale + bits.se()) % 256
        if scale == 0:
            return


def _h264_picture_order(bits: BitReader) -> None:
    kind = bits.ue(2)  # pic_order_cnt_type
    if kind == 0:
        bits.ue()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.flag()  # delta_pic_order_always_zero_flag
        bits.skip_ue(2)  # signed offsets, coded alike
        bits.skip_ue(bits.ue(255))  # offset_for_ref_frame


def _hevc(bits: BitReader) -> ChromaLocation:
    """seq_parameter_set_rbsp, H.265 7.3.2.2."""
    bits.u(4)  # sps_video_parameter_set_id
    sub_layers = bits.u(3)  # sps_max_sub_layers_minus1
    bits.flag()  # sps_temporal_id_nesting_flag
    _hevc_profile(bits, sub_layers)
    bits.ue()  # sps_seq_parameter_set_id
    if bits.ue(3) == 3:  # chroma_format_idc
        bits.flag()  # separate_colour_plane_flag
    bits.skip_ue(2)  # width, height
    if bits.flag():  # conformance_window_flag
        bits.skip_ue(4)
    bits.skip_ue(2)  # bit depths
    order_bits = bits.ue(12) + 4  # log2_max_pic_order_cnt_lsb_minus4
    ordering = sub_layers + 1 if bits.flag() else 1  # sps_sub_layer_ordering_info_present_flag
    bits.skip_ue(3 * ordering + 6)  # then block sizes and hierarchy depths
    if bits.flag() and bits.flag():  # scaling_list_enabled_flag, sps_scaling_list_data_present_flag
        _hevc_scaling_lists(bits)
    bits.u(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag():  # pcm_enabled_flag
        bits.u(8)  # bit depths
        bits.skip_ue(2)  # block sizes
        bits.flag()  # pcm_loop_filter_disabled_flag
    _hevc_references(bits, order_bits)
    bits.u(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    return _vui(bits)


def _hevc_profile(bits: BitReader, sub_layers: int) -> None:
    """profile_tier_level, H.265 7.3.3, with its profile present."""
    profile, level = 88, 8
    bits.u(profile + level)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))  # reserved_zero_2bits
    for has_profile, has_level in present:
        bits.u(profile * has_profile + level * has_level)


def _hevc_scaling_lists(bits: BitReader) -> None:
    """scaling_list_data, H.265 7.3.4."""
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.flag():  # scaling_list_pred_mode_flag
                bits.ue()  # scaling_list_pred_matrix_id_delta
            else:
                bits.skip_ue((size > 1) + min(64, 16 << 2 * size))  # signed coefficients, coded alike


def _hevc_references(bits: BitReader, order_bits: int) -> None:
    """Short-term and long-term reference picture sets of an SPS, H.265 7.3.2.2."""
    deltas: list[int] | None = None
    for _ in range(bits.ue(64)):  # num_short_term_ref_pic_sets
        deltas = _hevc_short_term(bits, deltas)
    if bits.flag():  # long_term_ref_pics_present_flag
        bits.u((order_bits + 1) * bits.ue(32))  # lt_ref_pic_poc_lsb_sps, used_by_curr_pic_lt_sps_flag


def _hevc_short_term(bits: BitReader, before: list[int] | None) -> list[int]:
    """st_ref_pic_set, H.265 7.3.7: picture order count differences, negative ones first, near ones before far ones.

    Args:
        before: the previous set, from which this one may be predicted; None for the first.
    """
    if before is not None and bits.flag():  # inter_ref_pic_set_prediction_flag
        backwards, distance = bits.flag(), bits.ue(2**15 - 1) + 1
        shift = -distance if backwards else distance
        # kept when used_by_curr_pic_flag or else use_delta_flag; a difference of 0 drops out (7-61, 7-62)
        kept = [delta + shift for delta in (*before, 0) if bits.flag() or bits.flag()]
        return sorted((d for d in kept if d < 0), reverse=True) + sorted(d for d in kept if d > 0)
    negative, positive = bits.ue(16), bits.ue(16)
    return _hevc_steps(bits, negative, -1) + _hevc_steps(bits, positive, 1)


def _hevc_steps(bits: BitReader, count: int, sign: int) -> list[int]:
    deltas, delta = [], 0
    for _ in range(count):
        delta += sign * (bits.ue(2**15 - 1) + 1)
        bits.flag()  # used_by_curr_pic_flag
        deltas.append(delta)
    return deltas


def _vui(bits: BitReader) -> ChromaLocation:
    """vui_parameters as far as chroma_loc_info, H.264 E.1.1 and H.265 E.2.1 alike.

    The top field's type counts, as in FFmpeg; both are equal for frames.
    """
    if not bits.flag():  # vui_parameters_present_flag
        return LOCATIONS[0]
    if bits.flag() and bits.u(8) == 255:  # aspect_ratio_info_present_flag, aspect_ratio_idc Extended_SAR
        bits.u(32)
    if bits.flag():  # overscan_info_present_flag
        bits.flag()
    if bits.flag():  # video_signal_type_present_flag
        bits.u(4)  # video_format, video_full_range_flag
        if bits.flag():  # colour_description_present_flag
            bits.u(24)
    return LOCATIONS[bits.ue(len(LOCATIONS) - 1)] if bits.flag() else LOCATIONS[0]
