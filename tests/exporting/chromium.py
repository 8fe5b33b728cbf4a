"""A headless Chromium that tests click in, by its DevTools protocol over two pipes."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab; `failures` are errors and refused requests that its console reported."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._rest = to_browser, from_browser, b""
        self._n_sent = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.failures: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result."""
        self._n_sent += 1
        message: dict[str, Any] = {"id": self._n_sent, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._n_sent:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from, 1 << 16)
            assert part, "chromium ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.failures.append(str(params["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.failures.append(params["entry"]["text"])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        result = self.send("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression: str, *, seconds: float = 120) -> None:
        """Wait until a JavaScript expression is true; one that fails is not yet."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"(() => {{try {{return {expression}}} catch {{}}}})()"):
            status = self.evaluate("document.getElementById('status')?.textContent")
            assert time.monotonic() < end, (expression, status, self.failures)
            time.sleep(0.05)

    def upload(self, selector: str, path: Path) -> None:
        """Choose a file, as a person does in the dialog."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def resize(self, width: int, *, dark: bool = False) -> None:
        options = {"deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, **options)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """Start it with an empty profile, and end it afterwards."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, _pipes() as pipes:
        (to_read, to_write), (from_read, from_write) = pipes
        command = [
            "bash", "-c", f'exec "$@" 3<&{to_read} 4>&{from_write}', "chromium", PROGRAM,
            "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--disable-background-networking", "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, pass_fds=(to_read, from_write), stderr=subprocess.DEVNULL
        )
        try:
            yield Page(to_write, from_read)
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextlib.contextmanager
def _pipes() -> Iterator[list[tuple[int, int]]]:
    """Two pipes, whose numbers the shell can name beside 3 and 4."""
    spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    pipes = [os.pipe(), os.pipe()]
    try:
        yield pipes
    finally:
        for descriptor in [*spare, *pipes[0], *pipes[1]]:
            os.close(descriptor)
