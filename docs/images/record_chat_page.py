"""Asks a question on a box's chat page, in a real browser, and takes a picture of the answer.

So is `chat-page.png` made, on a machine with Debian's chromium and a provisioned lab:
`.venv/bin/python docs/images/record_chat_page.py docs/images/chat-page.png https://ADDRESS`
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

QUESTION = "What is the capital of France? Answer in one sentence."
USER = "admin@boxwright.internal"
SECRET = ["./invoke", "secrets.show", "--name", "webui_admin_password"]
# A first sign-in is shown what is new in this release.
CLOSE_NEWS = """[...document.querySelectorAll("button")].find(one => one.innerText.includes("Let's Go"))?.click()"""
ANSWERED = ".copy-response-button"  # comes when the answer is whole
PATIENCE_S = 90
QUIET_S = 12  # after that long without a new word the page is as it stays


class Browser:
    """A chromium without a window, led over a pipe by the protocol of its own developer tools."""

    def __init__(self, profile: str) -> None:
        orders, self._to_it = os.pipe()
        self._from_it, answers = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--ignore-certificate-errors", "--hide-scrollbars"]
        command = ["chromium", *options, "--window-size=1280,720", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" --remote-debugging-pipe 3<&{orders} 4>&{answers}', "sh", *command],
            pass_fds=(orders, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(orders)
        os.close(answers)
        self._unread = b""
        self._numbers = itertools.count(1)
        self._session = ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Emulation.setDeviceMetricsOverride", width=1280, height=720, deviceScaleFactor=1, mobile=False)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have something done, and return what came of it."""
        order = {"id": next(self._numbers), "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._to_it, json.dumps(order).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == order["id"]:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            part = os.read(self._from_it, 65536)
            if not part:
                sys.exit("chromium has ended")
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def value(self, expression: str) -> Any:
        """What an expression is worth on the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def fill(self, selector: str, text: str) -> None:
        """Wait for a field and type into it."""
        self.wait_for(selector)
        self.value(f"document.querySelector({selector!r}).focus()")
        self.send("Input.insertText", text=text)

    def press(self, selector: str) -> None:
        """Wait for a button that can be pressed, and press it."""
        self.wait_for(f"{selector}:not([disabled])")
        self.value(f"document.querySelector({selector!r}).click()")

    def wait_for(self, selector: str) -> None:
        """Wait until something is on the page."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.value(f"!!document.querySelector({selector!r})"):
            if time.monotonic() > deadline:
                sys.exit(f"no {selector} within {PATIENCE_S} s")
            time.sleep(0.2)


def ask(browser: Browser, url: str, password: str) -> None:
    """Sign in, ask, and wait until nothing on the page changes any more."""
    browser.send("Page.navigate", url=url)
    browser.fill("input[type=email]", USER)
    browser.fill("input[type=password]", password)
    browser.press("button[type=submit]")
    browser.fill("#chat-input", QUESTION)
    browser.press("#send-message-button")
    browser.wait_for(ANSWERED)
    words, since = "", time.monotonic()
    while time.monotonic() - since < QUIET_S:  # the title of the chat comes later
        time.sleep(0.5)
        browser.value(CLOSE_NEWS)
        now = browser.value("document.body.innerText") or ""
        if now != words:
            words, since = now, time.monotonic()


def main() -> None:
    """Take the picture whose path is the first argument, of the page at the second."""
    picture, url = sys.argv[1:]
    password = subprocess.run(SECRET, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            ask(browser, url, password)
            shot = browser.send("Page.captureScreenshot", format="png")["data"]
        finally:
            browser.process.terminate()
            browser.process.wait()
    Path(picture).write_bytes(base64.b64decode(shot))


if __name__ == "__main__":
    main()
