"""The element itself: GstBaseTransform's callbacks."""

from __future__ import annotations

from typing import Any, ClassVar

from vsr import __version__
from vsr.errors import UsageError
from vsr.live.gstreamer.binding import GLib, GObject, Gst, GstBase, GstVideo
from vsr.live.gstreamer.caps import TEMPLATE, downscaled, info, upscaled
from vsr.live.gstreamer.work import Work
from vsr.settings import BACKENDS, EngineSettings

DEBUG = f"vsr {__version__}"  # below an error on gst-launch's screen
SINK, SRC = Gst.PadDirection.SINK, Gst.PadDirection.SRC
CHANGEABLE = GObject.ParamFlags.READWRITE | GObject.ParamFlags(Gst.PARAM_MUTABLE_PLAYING)
DEFAULTS: dict[str, Any] = {"scale": 2, "network": "auto", "backend": "auto", "threads": 0, "latency-budget": -1}


def _pad(name: str, direction: Any) -> Any:
    return Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(TEMPLATE))


class Upscale(GstBase.BaseTransform):  # type: ignore[misc] # PyGObject has no types
    """Each buffer upscaled, its time kept, several in work at once where nobody waits (see `Work`).

    The base class does quality of service, metadata and the output's memory: `do_transform` only takes note of the
    input, and `do_generate_output` starts work on the pair and gives the oldest pair's result, or nothing yet. What is
    in work is pushed before every serialised event, so order holds.
    """

    __gtype_name__ = "VsrUpscale"
    __gstmetadata__ = (
        "Video super-resolution",
        "Filter/Converter/Video/Scaler",
        "Upscales raw video by a neural network, 2, 3 or 4 times each way",
        "The vsr authors",
    )
    __gsttemplates__ = (_pad("sink", SINK), _pad("src", SRC))
    __gproperties__: ClassVar[dict[str, Any]] = {
        "scale": (int, "Scale", "width and height are multiplied by it", 2, 4, DEFAULTS["scale"], CHANGEABLE),
        "network": (str, "Network", "auto, or a name of vsr's networks", DEFAULTS["network"], CHANGEABLE),
        "backend": (str, "Backend", f"what runs it: {', '.join(BACKENDS)}", DEFAULTS["backend"], CHANGEABLE),
        "threads": (int, "Threads", "of the network; 0: one a core", 0, 1024, DEFAULTS["threads"], CHANGEABLE),
        "latency-budget": (
            int,
            "Latency budget",
            "milliseconds a frame may wait for later ones, so that several are in work at once; -1: none in a live "
            "pipeline, any in others",
            -1,
            60_000,
            DEFAULTS["latency-budget"],
            CHANGEABLE,
        ),
        "engine": (str, "Engine", "network, backend and precision that run", "", GObject.ParamFlags.READABLE),
    }

    def __init__(self) -> None:
        super().__init__()
        self._options = dict(DEFAULTS)
        self._changed = False  # options since the work was opened
        self._infos: tuple[Any, Any] | None = None
        self._work: Work | None = None
        self._given: Any = None  # the input whose output the base class has just made
        self.set_qos_enabled(True)
        self.srcpad.set_query_function_full(_answer, None)  # PyGObject can't override do_query, two bases have one

    def do_get_property(self, spec: Any) -> Any:
        if spec.name == "engine":
            return "" if self._work is None else self._work.label
        return self._options[spec.name]

    def do_set_property(self, spec: Any, value: Any) -> None:
        self._options[spec.name] = value
        self._changed = True
        self.reconfigure_src()

    def do_transform_caps(self, direction: Any, caps: Any, filter: Any) -> Any:
        scale = self._options["scale"]
        result = upscaled(caps, scale) if direction == SINK else downscaled(caps, scale)
        return result if filter is None else filter.intersect_full(result, Gst.CapsIntersectMode.FIRST)

    def do_get_unit_size(self, caps: Any) -> tuple[bool, int]:
        return True, info(caps).size

    def do_transform_size(self, direction: Any, caps: Any, size: int, other: Any) -> tuple[bool, int]:
        return self.do_get_unit_size(other)  # whatever padding this one has

    def do_propose_allocation(self, decided: Any, query: Any) -> bool:
        query.add_allocation_meta(GstVideo.video_meta_api_get_type(), None)
        return bool(GstBase.BaseTransform.do_propose_allocation(self, decided, query))

    def do_set_caps(self, source: Any, target: Any) -> bool:
        self._infos = info(source), info(target)
        try:
            self._drain()
            self._open()
        except Exception as error:  # noqa: BLE001 - PyGObject would print a traceback and go on
            self._fail(error)
            return False
        return True

    def do_transform(self, given: Any, wanted: Any) -> Any:
        self._given = given
        return Gst.FlowReturn.OK

    def do_generate_output(self) -> tuple[Any, Any]:
        flow, wanted = GstBase.BaseTransform.do_generate_output(self)
        if flow != Gst.FlowReturn.OK or wanted is None:
            return flow, None
        given, self._given = self._given, None
        try:
            if self._changed:
                self._drain()
                self._open()
            assert self._work is not None
            self._work.start(given, wanted)
            result = self._work.finish() if self._work.full else None
            self._tell(self._work)
            return flow, result
        except Exception as error:  # noqa: BLE001 - PyGObject would print a traceback and go on
            self._fail(error)
            return Gst.FlowReturn.ERROR, None

    def do_sink_event(self, event: Any) -> bool:
        try:
            if event.type == Gst.EventType.FLUSH_STOP:
                self._drop()
            elif Gst.EventType.get_flags(event.type) & Gst.EventTypeFlags.SERIALIZED:
                self._drain()
        except Exception as error:  # noqa: BLE001 - PyGObject would print a traceback and go on
            self._fail(error)
        return bool(GstBase.BaseTransform.do_sink_event(self, event))

    def do_stop(self) -> bool:
        if self._work is not None:
            self._work.close()
        self._work, self._infos, self._given = None, None, None
        return True

    def _open(self) -> None:
        assert self._infos is not None
        if self._work is not None:
            self._work.close()
        self._work, self._changed = None, False
        options = {name: self._options[name] for name in ("scale", "network", "backend", "threads")}
        query = Gst.Query.new_latency()
        live = self.sinkpad.peer_query(query) and query.parse_latency()[0]
        self._work = Work(EngineSettings(**options), *self._infos, live=live, budget=self._options["latency-budget"])
        self._tell(self._work)
        if self._infos[0].interlace_mode != GstVideo.VideoInterlaceMode.PROGRESSIVE:
            self._say(Gst.Message.new_warning, "the video is interlaced; put `deinterlace` before this element")
        self.post_message(Gst.Message.new_latency(self))

    @property
    def latency(self) -> int:
        """Nanoseconds a frame takes here."""
        return 0 if self._work is None else round(self._work.latency * Gst.SECOND)

    def _drain(self) -> None:
        """Pushes what is in work; what comes after a refusal is dropped."""
        while self._work is not None and not self._work.empty:
            if self.srcpad.push(self._work.finish()) != Gst.FlowReturn.OK:
                self._drop()

    def _drop(self) -> None:
        if self._work is not None:
            self._work.drop()

    def _fail(self, error: Exception) -> None:
        domain, code = Gst.StreamError.quark(), Gst.StreamError.FAILED
        if isinstance(error, UsageError):
            domain, code = Gst.LibraryError.quark(), Gst.LibraryError.SETTINGS
        line = " ".join(str(error).split()) or type(error).__name__
        self.post_message(Gst.Message.new_error(self, GLib.Error.new_literal(domain, line, code), DEBUG))

    def _tell(self, work: Work) -> None:
        while work.notes:
            self._say(Gst.Message.new_info, work.notes.pop(0))

    def _say(self, kind: Any, line: str) -> None:
        told = GLib.Error.new_literal(Gst.StreamError.quark(), line, Gst.StreamError.FAILED)
        self.post_message(kind(self, told, line))  # of an info message gst-launch prints only this


def _answer(pad: Any, element: Any, query: Any) -> bool:
    """Of the source pad: adds to the latency what the element does, and leaves all else to the base class."""
    if query.type != Gst.QueryType.LATENCY:
        return bool(GstBase.BaseTransform.do_query(element, SRC, query))
    if not element.sinkpad.peer_query(query):
        return False
    live, least, most = query.parse_latency()
    most = most if most == Gst.CLOCK_TIME_NONE else most + element.latency
    query.set_latency(live, least + element.latency, most)
    return True
