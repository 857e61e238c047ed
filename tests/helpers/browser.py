"""A real browser for tests: Chromium without a window, driven by its DevTools protocol over two pipes."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium")

_OPTIONS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --hide-scrollbars"
_SECONDS = 60


@contextlib.contextmanager
def browser(folder):
    """Context that gives a Page of a browser whose own files are in a folder."""
    commands, answers = os.pipe(), os.pipe()
    options = [*_OPTIONS.split(), "--remote-debugging-pipe", f"--user-data-dir={folder}"]
    redirected = f'exec "$@" 3<&{commands[0]} 4>&{answers[1]}'
    with open(os.path.join(folder, "stderr"), "wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", redirected, "bash", CHROMIUM, *options, "about:blank"],
            pass_fds=(commands[0], answers[1]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    for each in (commands[0], answers[1]):
        os.close(each)
    try:
        with os.fdopen(commands[1], "wb", buffering=0) as to, os.fdopen(answers[0], "rb", buffering=0) as answered:
            yield Page(to, answered)
    finally:
        process.terminate()
        process.wait(_SECONDS)


class Page:
    """The page of a browser.

    Attributes:
        complaints: errors and warnings of the console, and exceptions of programs in the page.
        requests: addresses that the page has asked for, but for those of data in the page itself.
    """

    def __init__(self, to, answered):
        self._to, self._from, self._rest, self._numbers = to, answered, b"", itertools.count(1)
        self._session = None
        self.complaints, self.requests = [], []
        (target,) = [each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """The result of a command of the protocol."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        self._to.write(json.dumps(dict(id=number, method=method, params=params, **session)).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]

    def _read(self):
        """The next message; notes what it says of the page."""
        while b"\0" not in self._rest:
            block = self._from.read(2**16)
            assert block, "the browser has ended"
            self._rest += block
        first, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(first)
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("data:", "blob:")):
            self.requests.append(params["request"]["url"])
        return message

    def open(self, path, width=1280, height=900, dark=False):
        """Show a file in a window of a size, in pixels, and wait until its programs have run."""
        self.complaints.clear(), self.requests.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = dict(name="prefers-color-scheme", value="dark" if dark else "light")
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="file://" + os.path.abspath(path))
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def value(self, expression):
        """The value of an expression of JavaScript in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition):
        """Wait until an expression is true."""
        until = time.monotonic() + _SECONDS
        while not self.value(f"Boolean({condition})"):
            assert time.monotonic() < until, condition
            time.sleep(0.05)

    def point_at(self, x, y):
        """Move the mouse there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def save_picture(self, path):
        """Write a PNG of the whole page."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))
