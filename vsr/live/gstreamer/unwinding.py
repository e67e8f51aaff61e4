"""Which library unwinds the stack when C++ throws.

GStreamer brings libunwind, and PyGObject loads it for everybody to see: what is loaded afterwards takes the unwinding
functions from there, and no longer from GCC's libgcc_s. A libstdc++ that was there before (numpy brings it) keeps those
of libgcc_s. The two don't understand each other, and the first exception inside OpenVINO ends the process.
"""

from __future__ import annotations

import ctypes

from vsr.errors import UsageError

_FOUND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_char_p), ctypes.c_size_t, ctypes.c_void_p)


def settle() -> None:
    """To be called before GStreamer is loaded: libgcc_s comes first then, for everybody.

    Raises:
        UsageError: GStreamer was loaded before, and libstdc++ before that.
    """
    try:
        gcc = ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:  # another system, another way
        return
    if _address(ctypes.CDLL(None)) != _address(gcc) and mixed(libraries()):
        raise UsageError(
            "GStreamer was loaded after a C++ library (numpy has one): the next C++ exception would end the process; "
            "import vsr.live.gstreamer.binding before gi.repository.Gst, or gi.repository.Gst before numpy"
        )


def mixed(loaded: list[str]) -> bool:
    """Whether libunwind came after libstdc++, in a list of libraries in the order they were loaded."""
    names = [path.rpartition("/")[2].partition(".so")[0] for path in loaded]
    return {"libstdc++", "libunwind"} <= {*names} and names.index("libstdc++") < names.index("libunwind")


def libraries() -> list[str]:
    """What is loaded, in that order; dl_iterate_phdr(3)."""
    found: list[str] = []

    def note(info: ctypes._Pointer[ctypes.c_char_p], _size: int, _data: int | None) -> int:
        found.append((info[1] or b"").decode())  # the second member of dl_phdr_info
        return 0

    ctypes.CDLL(None).dl_iterate_phdr(_FOUND(note), None)
    return found


def _address(library: ctypes.CDLL) -> int | None:
    return ctypes.cast(library._Unwind_Resume, ctypes.c_void_p).value
