"""A headless Chromium, controlled through a pipe in the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)
COMMANDS_AT, ANSWERS_AT = 3, 4  # the file descriptors of Chromium's pipe


def program() -> str | None:
    """The browser's path; None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Page:
    """One tab: sends commands, and keeps the events that arrive meanwhile."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; events that come before it are kept."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._count:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "the browser ended"
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def open(
        self,
        file: Path,
        *,
        link: str = "",
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        touch: bool = False,
    ) -> None:
        """Load a file in a window of this size, and wait until it has loaded.

        `link` is what follows the `#` of its address; with `touch` there is a finger and no mouse.
        """
        self.scheme(dark=dark)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        if link:  # Another fragment of the same address would not load the page again.
            self._load("about:blank")
        self._load(file.as_uri() + (f"#{link}" if link else ""))

    def scheme(self, *, dark: bool) -> None:
        """Prefer the light or the dark theme."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def _load(self, url: str) -> None:
        self.events.clear()
        self.send("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def frame(self) -> None:
        """Wait until the page has handled all events and has been drawn again."""
        drawn = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.send("Runtime.evaluate", expression=drawn, awaitPromise=True)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move the mouse, or press or release its button."""
        pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def click(self, x: float, y: float) -> None:
        """Move the mouse to a place and click there."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)
        self.frame()

    def tap(self, x: float, y: float) -> None:
        """Touch a place for a moment, and wait for the click that the browser makes of it."""
        clicked = "new Promise((done) => addEventListener('click', done, { once: true }))"
        self.value(f"window.tapped = {clicked}; 0")
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        late = "new Promise((done) => setTimeout(done, 2000))"
        self.send(
            "Runtime.evaluate", expression=f"Promise.race([tapped, {late}])", awaitPromise=True
        )
        self.frame()

    def key(self, name: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the page was opened."""
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                thrown = parameters["exceptionDetails"]
                found.append(thrown.get("exception", thrown).get("description", thrown["text"]))
            if event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in (
                "error",
                "warning",
            ):
                found.append(json.dumps(parameters["args"]))
            if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """The addresses requested since the page was opened."""
        sent = (e for e in self.events if e.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        picture = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """A tab of a new browser, which ends with the block."""
    name = program()
    assert name is not None
    commands, answers = os.pipe(), os.pipe()
    # The shell duplicates the pipe's ends to the descriptors that the browser uses.
    redirected = f'exec "$0" "$@" {COMMANDS_AT}<&{commands[0]} {ANSWERS_AT}>&{answers[1]}'
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", redirected, name, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands[0], answers[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands[0])
        os.close(answers[1])
        try:
            yield Page(commands[1], answers[0])
        finally:
            process.terminate()
            process.wait(30)
            os.close(commands[1])
            os.close(answers[0])
