"""A headless Chromium without a network, driven over WebDriver's HTTP; nothing but the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# no name is resolved, and 127.0.0.1 alone is spoken to past a proxy that is not there
_OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--disable-background-networking")
_QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
          "--disable-sync", "--disable-component-update", "--window-size=1280,1000", "--hide-scrollbars")  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # of the WebDriver standard


@dataclass(frozen=True)
class Browser:
    """One session."""

    url: str

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as refused:
            said = json.load(refused)["value"]
            raise AssertionError(f"{path} {body}: {said['message'][:600]}") from None

    def colours(self, scheme: str) -> None:
        """Light or dark, as the system would say."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})

    def open(self, page: Path) -> None:
        self.colours("light")
        self.ask("POST", "/url", {"url": page.resolve().as_uri()})

    def js(self, script: str) -> Any:
        """What the body of a function returns in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": []})

    def click(self, css: str) -> None:
        """A real click of the mouse, refused where something lies over the element."""
        self.ask("POST", f"/element/{self._find(css)}/click")

    def type(self, css: str, text: str) -> None:
        """Replaces what stands in a field, and leaves it."""
        control, release, tab = "\ue009", "\ue000", "\ue004"
        self.ask("POST", f"/element/{self._find(css)}/value", {"text": f"{control}a{release}{text}{tab}"})

    def _find(self, css: str) -> str:
        return str(self.ask("POST", "/element", {"using": "css selector", "value": css})[ELEMENT])

    def complaints(self) -> list[str]:
        """What the console has had to say since the last call."""
        return [entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"})]

    def picture(self, path: Path, height: int = 1000) -> None:
        """A screenshot of the top of the page, so many pixels high."""
        clip = {"x": 0, "y": 0, "width": 1280, "height": height, "scale": 1}
        params = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        shot = self.ask("POST", "/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": params})
        path.write_bytes(base64.b64decode(shot["data"]))


def missing() -> str:
    """Why there can be no browser here; empty where there can."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"needs {' and '.join(absent)}" if absent else ""


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A session that ends with the block, and its two programs with it."""
    chromium = shutil.which("chromium")
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert driver.stdout is not None
        port = next(line.split("on port ")[1].strip(" .\n") for line in driver.stdout if "successfully on port" in line)
        root = Browser(f"http://127.0.0.1:{port}/session")
        options = {"args": [*_QUIET, *_OFFLINE, f"--user-data-dir={profile}"], "binary": chromium}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = root.ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        found = Browser(f"{root.url}/{session}")
        yield found
        found.ask("DELETE", "")
    finally:
        driver.terminate()
        driver.communicate(timeout=30)
