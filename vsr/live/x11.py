"""Windows of an X server: which there are, one by its title or a click, and what becomes of it while it is watched."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import Any

from vsr.errors import InputError, UsageError

CROSSHAIR = 34  # in the cursor font, X11/cursorfont.h
LEFT = 1  # mouse button
LONGEST = 1024  # 32-bit words of a property that are read
NO_X = "no X server to capture from: DISPLAY is {}. vsr-live captures X11 windows; under Wayland those of Xwayland"


@dataclass(frozen=True)
class Window:
    """A top-level window.

    Args:
        id: the server's number for it.
        title: as its program named it; may be empty.
        program: class of WM_CLASS; may be empty.
        x, y: of its picture's corner, from that of the screen.
        visible: mapped, though others may cover it.
    """

    id: int
    title: str
    program: str
    x: int
    y: int
    width: int
    height: int
    visible: bool

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    def __str__(self) -> str:
        return f'window "{self.title or self.program}" {self.size}'


class Display:
    """A connection to an X server.

    Args:
        name: like ":0"; None is what DISPLAY says.

    Raises:
        InputError: there is no server, or xcffib isn't installed.
    """

    def __init__(self, name: str | None = None) -> None:
        try:
            import xcffib
            import xcffib.xproto as xproto
        except (ImportError, OSError) as error:
            raise InputError("capturing needs xcffib and libxcb: pip install 'vsr[live]'") from error
        self.name = os.environ.get("DISPLAY", "") if name is None else name
        try:
            self._connection: Any = xcffib.connect(display=self.name)
        except xcffib.ConnectionException as error:
            raise InputError(NO_X.format(f"{self.name}, where none answers" if self.name else "not set")) from error
        self._x: Any = xproto
        self._refused: Any = xcffib.Error
        self._lost: Any = xcffib.ConnectionException
        self._screen: Any = self._connection.get_setup().roots[self._connection.pref_screen]
        self.root: int = self._screen.root
        self._atoms: dict[str, int] = {}

    def windows(self) -> list[Window]:
        """Visible top-level windows, the one on top last; those of the window manager's list where there is one."""
        listed = self._property(self.root, "_NET_CLIENT_LIST_STACKING")
        ids = struct.unpack(f"={len(listed) // 4}I", listed) if listed else self._tree(self.root)
        found = (self.window(number) for number in ids)
        return [w for w in found if w and w.visible and (w.title or w.program)]

    def window(self, number: int) -> Window | None:
        """What is to know of a window now; None when there is no such."""
        core, x = self._connection.core, self._x
        asked = core.GetWindowAttributes(number), core.GetGeometry(number)
        moved = core.TranslateCoordinates(number, self.root, 0, 0)
        try:
            attributes, geometry, corner = asked[0].reply(), asked[1].reply(), moved.reply()
            title = self._property(number, "_NET_WM_NAME") or self._property(number, "WM_NAME")
            names = self._property(number, "WM_CLASS").split(b"\0")
        except self._refused:
            return None
        except self._lost as error:
            raise self._gone() from error
        return Window(
            id=number,
            title=title.decode("utf-8", "replace"),
            program=names[1].decode("utf-8", "replace") if len(names) > 1 else "",
            x=corner.dst_x,
            y=corner.dst_y,
            width=geometry.width,
            height=geometry.height,
            visible=attributes.map_state == x.MapState.Viewable and attributes._class != x.WindowClass.InputOnly,
        )

    def find(self, wanted: str) -> Window:
        """The window `wanted` names.

        Args:
            wanted: "click" waits for a click into it, "0x..." is its id, all else a pattern of its title: a regular
                expression, upper and lower case alike; a title that is exactly this goes before others.

        Raises:
            InputError: there is none, or several and none of exactly this title.
            UsageError: no regular expression.
        """
        if wanted == "click":
            return self.clicked()
        if re.fullmatch("0x[0-9a-fA-F]{1,8}", wanted):
            found = self.window(int(wanted, 16))
            if found is None:
                raise InputError(f"there is no window {wanted} (vsr-live --list shows them)")
            return found
        return chosen(self.windows(), wanted)

    def clicked(self) -> Window:
        """The window that the user clicks into. Raises InputError when the mouse can't be had."""
        core, x = self._connection.core, self._x
        font, cursor = self._connection.generate_id(), self._connection.generate_id()
        core.OpenFont(font, len("cursor"), "cursor")
        core.CreateGlyphCursor(cursor, font, font, CROSSHAIR, CROSSHAIR + 1, 0, 0, 0, 65535, 65535, 65535)
        pressed, now = x.EventMask.ButtonPress | x.EventMask.ButtonRelease, x.Time.CurrentTime
        kind = x.GrabMode.Async
        grab = core.GrabPointer(False, self.root, pressed, kind, kind, self.root, cursor, now).reply()
        if grab.status != x.GrabStatus.Success:
            raise InputError("another program holds the mouse; name the window by its title")
        while not isinstance(event := self._connection.wait_for_event(), x.ButtonPressEvent):
            pass
        core.UngrabPointer(now)
        self._connection.flush()
        found = self.window(self._client(event.child)) if event.child else None
        if found is None or event.detail != LEFT:
            raise InputError("no window was clicked into")
        return found

    def _client(self, number: int) -> int:
        """The program's own window within the frame that a window manager puts around it (ICCCM 4.1.3.1)."""
        level = [number]
        while level:
            for candidate in level:
                if self._property(candidate, "WM_STATE"):
                    return candidate
            level = [child for parent in level for child in self._tree(parent)]
        return number

    def _tree(self, number: int) -> tuple[int, ...]:
        try:
            return tuple(self._connection.core.QueryTree(number).reply().children)
        except self._refused:
            return ()

    def _property(self, number: int, name: str) -> bytes:
        core, any_type = self._connection.core, self._x.GetPropertyType.Any
        if name not in self._atoms:
            self._atoms[name] = core.InternAtom(False, len(name), name).reply().atom
        try:
            value = core.GetProperty(False, number, self._atoms[name], any_type, 0, LONGEST).reply().value
        except self._refused:
            return b""
        return bytes(value.buf()) if len(value) else b""

    def watch(self, number: int) -> bool:
        """Has the server tell what happens to a window, and keep its picture whole where others cover it.

        Returns:
            whether it keeps it: without the Composite extension what covers a window is captured too.

        Raises:
            InputError: there is no such window.
        """
        told, core = self._x.EventMask.StructureNotify, self._connection.core
        try:
            core.ChangeWindowAttributes(number, self._x.CW.EventMask, [told], is_checked=True).check()
        except self._refused as error:
            raise InputError(f"there is no window 0x{number:x}") from error
        return number == self.root or self._keeps_whole(number)

    def _keeps_whole(self, number: int) -> bool:
        import xcffib.composite as composite

        name = "Composite"
        if not self._connection.core.QueryExtension(len(name), name).reply().present:
            return False
        extension = self._connection(composite.key)
        extension.QueryVersion(0, 4).reply()
        try:
            extension.RedirectWindow(number, composite.Redirect.Automatic, is_checked=True).check()
        except self._refused:
            return False
        return True

    def happened(self) -> set[str]:
        """Names of X's events for watched windows since the last call. Raises InputError: the server has gone."""
        found = set()
        try:
            while (event := self._connection.poll_for_event()) is not None:
                found.add(type(event).__name__.removesuffix("Event"))
        except self._lost as error:
            raise self._gone() from error
        return found

    def _gone(self) -> InputError:
        return InputError(f"the X server {self.name} has gone")

    def close(self) -> None:
        self._connection.disconnect()


def chosen(windows: list[Window], pattern: str) -> Window:
    """The one window whose title `pattern` fits; see `Display.find`."""
    try:
        expression = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise UsageError(f"--window {pattern}: no regular expression ({error})") from error
    fitting = [window for window in windows if expression.search(window.title or window.program)]
    exact = [window for window in fitting if window.title == pattern]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    listed = ", ".join(f'0x{w.id:x} "{w.title or w.program}"' for w in fitting or windows) or "none is open"
    if not fitting:
        raise InputError(f"no window's title fits {pattern!r} (open: {listed})")
    raise InputError(f"{len(fitting)} windows fit {pattern!r}, give one's id: {listed}")
