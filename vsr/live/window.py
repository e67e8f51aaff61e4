"""Sink: a window that shows results as they come, with figures over it, a split view and keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vsr.errors import OutputError, VerificationError
from vsr.live import overlay
from vsr.live.painter import Painter, fitted, upright_size
from vsr.live.protocol import Console, Policy, Shown, Sound, Source
from vsr.pictures import bgr, store, upright
from vsr.settings import Scaling

if TYPE_CHECKING:
    from vsr.frame import Frame

Key = Literal["toggle", "split", "up", "down", "pair", "full", "scaling", "overlay", "quit"]
# GLFW's names of keys, what they do, and how the overlay says it.
KEYS: tuple[tuple[str, Key, str], ...] = (
    ("SPACE", "toggle", "space on/off"),
    ("S", "split", "s split"),
    ("UP", "up", "up/down network"),
    ("DOWN", "down", ""),
    ("P", "pair", "p save pair"),
    ("F", "full", "f full screen"),
    ("F11", "full", ""),
    ("I", "scaling", "i whole factors"),
    ("O", "overlay", "o overlay"),
    ("Q", "quit", "q quit"),
    ("ESCAPE", "quit", ""),
)
HELP = "  ".join(said for _, _, said in KEYS if said)
REFRESH = 0.25  # seconds between changes of the figures


class Window:
    """Shows the newest result; made, used and closed by the main thread.

    Args:
        vsync: waits for the screen's refresh with every picture: no tearing, up to one refresh later.
        fullscreen: at first; a key changes it.
        scaling: "fit" enlarges to the window, smoothly; "integer" by whole factors, samples as squares.
        figures: over the picture at first.
        pairs: folder for pairs of source and result that a key saves.
        say: is told what a key did.

    Raises:
        OutputError: glfw or moderngl aren't installed, there is no screen, or it has no OpenGL 3.3.
    """

    policy: Policy = "newest"

    def __init__(
        self,
        *,
        vsync: bool = True,
        fullscreen: bool = False,
        scaling: Scaling = "fit",
        figures: bool = True,
        pairs: Path = Path(),
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._pairs, self._say, self._scaling, self._fullscreen = pairs, say, scaling, False
        self._console: Console | None = None
        self._shown: Shown | None = None  # what the textures hold; its samples may be gone
        self._enlarged = self._split = self._stale = False
        self._overlaid = 2 if figures else 0  # 2: figures and keys, 1: figures alone
        self._line, self._saved = 0.5, 0
        self._panel: Any = None  # the overlay, as of `_told`
        self._told = 0.0
        self._place = (0, 0, 0, 0)  # before it filled the screen
        self._error = ""
        self._glfw = self._open(vsync)
        self.label = f"window, {self._painter.renderer}{'' if vsync else ', no vsync'}"
        if fullscreen:
            self._full()

    def _open(self, vsync: bool) -> Any:
        try:
            import glfw
            import moderngl
        except (ImportError, OSError) as error:
            raise OutputError("a window needs glfw and moderngl: pip install 'vsr[live]'") from error
        glfw.set_error_callback(self._failed)
        if not glfw.init():
            raise OutputError(f"no window can be opened: {self._error}")
        for hint, value in (
            (glfw.CONTEXT_VERSION_MAJOR, 3),
            (glfw.CONTEXT_VERSION_MINOR, 3),
            (glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE),
            (glfw.VISIBLE, False),
            (glfw.AUTO_ICONIFY, False),
            (glfw.FOCUS_ON_SHOW, False),  # the keyboard stays with the game
        ):
            glfw.window_hint(hint, value)
        self._window: Any = glfw.create_window(640, 360, "vsr", None, None)
        if not self._window:
            glfw.terminate()
            raise OutputError(f"no window can be opened: {self._error}")
        glfw.make_context_current(self._window)
        try:
            self._painter = Painter()
        except (moderngl.Error, ValueError) as error:
            glfw.terminate()
            raise OutputError(f"no window can be shown: {error}") from error
        glfw.swap_interval(int(vsync))
        self._listen(glfw)
        return glfw

    def _failed(self, code: int, text: bytes) -> None:
        self._error = text.decode("utf-8", "replace")

    def _listen(self, glfw: Any) -> None:
        actions = {getattr(glfw, f"KEY_{name}"): action for name, action, _ in KEYS}

        def pressed(window: Any, key: int, code: int, action: int, modifiers: int) -> None:
            if action == glfw.PRESS and key in actions:
                self.press(actions[key])

        def dragged(window: Any, x: float, y: float) -> None:
            if glfw.get_mouse_button(window, glfw.MOUSE_BUTTON_LEFT) == glfw.PRESS:
                self._drag(x)

        def clicked(window: Any, button: int, action: int, modifiers: int) -> None:
            if action == glfw.PRESS and button == glfw.MOUSE_BUTTON_LEFT:
                self._drag(glfw.get_cursor_pos(window)[0])

        glfw.set_key_callback(self._window, pressed)
        glfw.set_cursor_pos_callback(self._window, dragged)
        glfw.set_mouse_button_callback(self._window, clicked)
        glfw.set_framebuffer_size_callback(self._window, lambda *size: self._mark())
        glfw.set_window_refresh_callback(self._window, lambda window: self._mark())

    def begin(self, console: Console, source: Source) -> None:
        self._console = console
        self._glfw.set_window_title(self._window, f"vsr: {source.label}")

    def hear(self, sound: Sound) -> None:
        """Sound isn't played: the program that is captured plays its own."""

    def show(self, shown: Shown) -> None:
        size, last = upright_size(shown.frame), self._shown
        if shown.repeated and last is not None:
            self.idle()
            return
        self._painter.load(shown.source, shown.frame)
        self._shown = shown
        if last is None or size != upright_size(last.frame):
            self._fit_window(size)
            if shown.frame.facts.colour.hdr:
                self._say("HDR is shown as it comes, without tone mapping: too dark or too pale")
        self._draw()
        self._glfw.poll_events()

    def idle(self) -> None:
        self._glfw.poll_events()
        if self._shown and (self._stale or self._overlaid and self._due()):
            self._draw()

    def wants(self) -> bool:
        return not self._glfw.window_should_close(self._window)

    def close(self) -> None:
        self._painter.close()
        self._glfw.destroy_window(self._window)
        self._glfw.terminate()

    def press(self, key: Key) -> None:
        """What a key does."""
        if key == "toggle":
            self._enlarged = not self._enlarged
        elif key == "split":
            self._split, self._enlarged = not self._split, False
        elif key in ("up", "down") and self._console:
            self._console.step(-1 if key == "up" else 1)
        elif key == "pair" and self._shown:
            self._save(self._shown)
        elif key == "full":
            self._full()
        elif key == "scaling":
            self._scaling = "integer" if self._scaling == "fit" else "fit"
        elif key == "overlay":
            self._overlaid = (self._overlaid - 1) % 3
        elif key == "quit":
            self._glfw.set_window_should_close(self._window, True)
        self._mark()

    def _mark(self) -> None:
        self._stale = True

    def _drag(self, x: float) -> None:
        """Moves the line to where the mouse is, in the window's own units."""
        if self._split and self._shown:
            left, _, width, _ = self._rectangle(self._shown.frame)
            pixels = self._glfw.get_framebuffer_size(self._window)[0] / self._glfw.get_window_size(self._window)[0]
            self._line = min(max((x * pixels - left) / width, 0.0), 1.0)
            self._mark()

    def _rectangle(self, frame: Frame) -> tuple[int, int, int, int]:
        return fitted(upright_size(frame), self._glfw.get_framebuffer_size(self._window), self._scaling)

    def _draw(self) -> None:
        assert self._shown is not None
        size = self._glfw.get_framebuffer_size(self._window)
        if not min(size):  # minimised
            return
        split = 1.0 if self._enlarged else self._line if self._split else 0.0
        rectangle, sharp = self._rectangle(self._shown.frame), self._scaling == "integer"
        self._painter.draw(size, rectangle, sharp=sharp, split=split, line=self._split and not self._enlarged)
        if self._overlaid and self._console:
            if self._stale or self._due():
                self._panel, self._told = self._figures(self._shown, self._console), time.monotonic()
            self._painter.draw_panel(size, self._panel)
        self._glfw.swap_buffers(self._window)
        self._stale = False

    def _due(self) -> bool:
        return time.monotonic() - self._told > REFRESH

    def _figures(self, shown: Shown, console: Console) -> Any:
        before, after = shown.source, shown.frame
        sizes = f"{before.width}x{before.height} to {after.width}x{after.height}"
        keys = HELP if self._overlaid == 2 else ""
        text = overlay.lines(console.snapshot(), sizes, enlarged=self._enlarged, keys=keys)
        return overlay.panel(text, self._glfw.get_window_content_scale(self._window)[0])

    def _fit_window(self, size: tuple[int, int]) -> None:
        """The picture's size, in pixels, or as much of it as the screen has room for."""
        if not self._fullscreen:
            room = self._glfw.get_monitor_workarea(self._glfw.get_primary_monitor())[2:]
            factor = min(1.0, room[0] / size[0], room[1] / size[1])
            self._glfw.set_window_size(self._window, *(round(side * factor) for side in size))
        self._glfw.show_window(self._window)
        self._glfw.swap_buffers(self._window)  # Mesa goes on drawing in the old size until then

    def _full(self) -> None:
        monitor = self._glfw.get_primary_monitor()
        if self._fullscreen:
            self._glfw.set_window_monitor(self._window, None, *self._place, 0)
        else:
            self._place = (*self._glfw.get_window_pos(self._window), *self._glfw.get_window_size(self._window))
            mode = self._glfw.get_video_mode(monitor)
            self._glfw.set_window_monitor(self._window, monitor, 0, 0, *mode.size, mode.refresh_rate)
        self._fullscreen = not self._fullscreen

    def _save(self, shown: Shown) -> None:
        """Source and result of what is shown, as two PNGs."""
        stem = f"vsr-{time.strftime('%Y%m%d-%H%M%S')}-{self._saved}"
        self._saved += 1
        paths = [self._pairs / f"{stem}-{name}.png" for name in ("source", "result")]
        try:
            for path, name, frame in zip(paths, ("before", "after"), (shown.source, shown.frame), strict=True):
                planes = self._painter.samples(name, frame.format.opaque)
                picture = bgr(replace(frame, format=frame.format.opaque, planes=planes, lease=None)).to_ndarray()
                store(path, upright(picture, frame.facts.display_matrix))
        except (OutputError, VerificationError) as error:
            self._say(f"no pair saved: {error}")
        else:
            self._say(f"saved {paths[0]} and {paths[1].name}")
