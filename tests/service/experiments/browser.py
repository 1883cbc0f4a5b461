"""A real browser without a window, told what to do over a pipe in the DevTools protocol."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def found() -> str | None:
    """The browser's program."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a running browser. Use `opened`."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._rest = b""
        self._count = 0
        self._session: str | None = None
        self.heard: list[tuple[str, Mapping[str, Any]]] = []
        """What the page told since it was shown: (event, its parameters)."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Network", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """The browser's answer to one command."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while (told := self._next()).get("id") != self._count:
            self.heard.append((told["method"], told["params"]))
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        result: dict[str, Any] = told["result"]
        return result

    def show(self, url: str, *, width: int, dark: bool = False, media: str = "screen", height: int = 900) -> None:
        """Opens the page and waits until it is complete."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.heard.clear()
        self.ask("Page.navigate", url=url)
        while not any(method == "Page.loadEventFired" for method, _ in self.heard):
            told = self._next()
            self.heard.append((told["method"], told["params"]))

    def value(self, expression: str) -> Any:
        """What a JavaScript expression says of the page; the page itself has no script."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def picture(self) -> bytes:
        """All of the page as a PNG."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def errors(self) -> list[str]:
        """What stood in the console, and every exception."""
        told = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
        return [json.dumps(parameters) for method, parameters in self.heard if method in told]

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        return [said["request"]["url"] for method, said in self.heard if method == "Network.requestWillBeSent"]

    def close(self) -> None:
        self._session = None
        with contextlib.suppress(OSError, EOFError):
            self.ask("Browser.close")
        self._commands.close()
        self._answers.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not (more := self._answers.read(1 << 16)):
                raise EOFError("the browser is gone")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


@contextlib.contextmanager
def opened(program: str) -> Iterator[Browser]:
    """A browser with a profile of its own, gone afterwards. The program reads commands from 3 and answers on 4."""
    (command_in, command_out), (answer_in, answer_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True) as profile:
        shell = f'exec "$@" 3<&{command_in} 4>&{answer_out}'
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "browser", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(command_in, answer_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(profile),
        )
        os.close(command_in)
        os.close(answer_out)
        try:
            browser = Browser(command_out, answer_in)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            process.terminate()
            process.wait()
