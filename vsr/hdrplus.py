"""HDR10+ (SMPTE ST 2094-40) as FFmpeg's decoders hand it over, written back to the bits of CTA-861-H annex S."""

from __future__ import annotations

import ctypes
from typing import Any

# ITU-T T.35 header: country USA, provider 0x003C, oriented code 0x0001, application 4.
HEADER = bytes.fromhex("b5003c000104")


class _Rational(ctypes.Structure):
    """FFmpeg's AVRational."""

    _fields_ = [("num", ctypes.c_int), ("den", ctypes.c_int)]


class _Percentile(ctypes.Structure):
    _fields_ = [("percentage", ctypes.c_uint8), ("percentile", _Rational)]


class _Window(ctypes.Structure):
    """FFmpeg's AVHDRPlusColorTransformParams."""

    _fields_ = [
        ("corners", _Rational * 4),
        ("centre", ctypes.c_uint16 * 2),
        ("rotation", ctypes.c_uint8),
        ("axes", ctypes.c_uint16 * 3),
        ("overlap", ctypes.c_int),
        ("maxscl", _Rational * 3),
        ("average_maxrgb", _Rational),
        ("percentiles", ctypes.c_uint8),
        ("distribution_maxrgb", _Percentile * 15),
        ("fraction_bright_pixels", _Rational),
        ("tone_mapping", ctypes.c_uint8),
        ("knee_point", _Rational * 2),
        ("anchors", ctypes.c_uint8),
        ("bezier_curve_anchors", _Rational * 15),
        ("saturation_mapping", ctypes.c_uint8),
        ("saturation_weight", _Rational),
    ]


class _PeakLuminance(ctypes.Structure):
    _fields_ = [
        ("present", ctypes.c_uint8),
        ("rows", ctypes.c_uint8),
        ("columns", ctypes.c_uint8),
        ("values", _Rational * 25 * 25),
    ]


class _Metadata(ctypes.Structure):
    """FFmpeg's AVDynamicHDRPlus."""

    _fields_ = [
        ("country", ctypes.c_uint8),
        ("version", ctypes.c_uint8),
        ("windows", ctypes.c_uint8),
        ("params", _Window * 3),
        ("target_luminance", _Rational),
        ("target_peaks", _PeakLuminance),
        ("mastering_peaks", _PeakLuminance),
    ]


class _Bits:
    """Bits written from the highest down."""

    def __init__(self) -> None:
        self._value, self._count = 1, 0  # a leading one keeps the zeros behind it

    def put(self, count: int, *values: int) -> None:
        for value in values:
            self._value = self._value << count | value & (1 << count) - 1
            self._count += count

    def whole(self) -> bytes:
        """Filled up to whole bytes with zeros."""
        rest = -self._count % 8
        size = (self._count + rest) // 8
        return (self._value << rest).to_bytes(size + 1, "big")[1:]


def t35(raw: bytes) -> bytes:
    """The ITU-T T.35 message of a frame's DYNAMIC_HDR_PLUS side data. Raises ValueError when it is too short."""
    data: Any = _Metadata.from_buffer_copy(raw)
    windows = data.params[: data.windows]
    bits = _Bits()
    bits.put(8, data.version)
    bits.put(2, data.windows)
    for window in windows[1:]:
        bits.put(16, *(_multiple(corner, 1) for corner in window.corners), *window.centre)
        bits.put(8, window.rotation)
        bits.put(16, *window.axes)
        bits.put(1, window.overlap)
    bits.put(27, _multiple(data.target_luminance, 1))
    _put_peaks(bits, data.target_peaks)
    for window in windows:
        _put_distribution(bits, window)
    _put_peaks(bits, data.mastering_peaks)
    for window in windows:
        _put_tone_mapping(bits, window)
    return HEADER + bits.whole()


def _multiple(value: Any, unit: int) -> int:
    """How many 1/`unit` a rational has."""
    return int(value.num * unit // value.den) if value.den else 0


def _put_peaks(bits: _Bits, peaks: Any) -> None:
    bits.put(1, peaks.present)
    if peaks.present:
        bits.put(5, peaks.rows, peaks.columns)
        bits.put(4, *(_multiple(value, 15) for row in peaks.values[: peaks.rows] for value in row[: peaks.columns]))


def _put_distribution(bits: _Bits, window: Any) -> None:
    bits.put(17, *(_multiple(value, 100000) for value in (*window.maxscl, window.average_maxrgb)))
    bits.put(4, window.percentiles)
    for entry in window.distribution_maxrgb[: window.percentiles]:
        bits.put(7, entry.percentage)
        bits.put(17, _multiple(entry.percentile, 100000))
    bits.put(10, _multiple(window.fraction_bright_pixels, 1000))


def _put_tone_mapping(bits: _Bits, window: Any) -> None:
    bits.put(1, window.tone_mapping)
    if window.tone_mapping:
        bits.put(12, *(_multiple(value, 4095) for value in window.knee_point))
        bits.put(4, window.anchors)
        bits.put(10, *(_multiple(value, 1023) for value in window.bezier_curve_anchors[: window.anchors]))
    bits.put(1, window.saturation_mapping)
    if window.saturation_mapping:
        bits.put(6, _multiple(window.saturation_weight, 8))
