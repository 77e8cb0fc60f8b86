"""A visitor of the bank: what a browser does, without the pictures."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from html import unescape
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from urllib.parse import urlencode

TIMEOUT = 40.0  # seconds; longer than any pause that a failover may cause

HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
OPTION = re.compile(r'<option value="(\d+)"')


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, and how long it took in seconds."""

    status: int
    body: str
    location: str
    retry_after: float | None
    seconds: float

    def hidden(self) -> dict[str, str]:
        """The hidden fields of the form on the page."""
        return {name: unescape(value) for name, value in HIDDEN.findall(self.body)}

    def options(self) -> list[str]:
        """The values that the page's select boxes offer."""
        return sorted(set(OPTION.findall(self.body)))


class Visitor:
    """Keeps its cookies, opens a connection for every request, follows no redirect by itself."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._cookies: SimpleCookie = SimpleCookie()

    def get(self, path: str) -> Answer:
        """Read a page. Raises ``OSError`` or ``HTTPException`` if no answer came."""
        return self._ask("GET", path, None)

    def post(self, path: str, fields: dict[str, str]) -> Answer:
        """Send a form. Raises as :meth:`get` does."""
        return self._ask("POST", path, urlencode(fields))

    def _ask(self, method: str, path: str, body: str | None) -> Answer:
        start = time.monotonic()
        connection = HTTPConnection(*self._address, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, self._headers(body))
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        for cookie in response.headers.get_all("Set-Cookie", []):
            self._cookies.load(cookie)
        for name in [n for n, morsel in self._cookies.items() if morsel["max-age"] == "0"]:
            del self._cookies[name]
        wait = response.headers["Retry-After"]
        return Answer(
            response.status,
            text,
            response.headers["Location"] or "",
            float(wait) if wait else None,
            time.monotonic() - start,
        )

    def _headers(self, body: str | None) -> dict[str, str]:
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self._cookies.items())
        headers = {"Cookie": cookies} if cookies else {}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return headers
