"""A local server is reached by every page that its user has open: other pages may neither read nor ask anything.

Host names other than this machine's are refused (a page may point its own name at 127.0.0.1), so are writes and sockets
that another page opens. The content policy holds mien's own page to itself: nothing is loaded from, or sent, elsewhere.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
)
"""plotly sets styles inline; scripts come from this server only."""


class Guard:
    """Middleware that refuses what other pages ask and marks answers; ``local`` says that only this machine may ask."""

    def __init__(self, app: ASGIApp, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, socket or event."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if why := self.refuses(scope):
            await refuse(why, scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, marked)

    def refuses(self, scope: Scope) -> str:
        """Why a request is refused, or nothing."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.local and not is_local(hostname(host)):
            return f"this server answers to 127.0.0.1 and localhost, not to {host}"
        asks = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        origin = headers.get("origin")
        if asks and origin is not None and netloc(origin) != host:
            return "another page may not use this server"
        return ""


async def refuse(why: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 403; a socket is closed before it opens, which is the same."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": why})
    else:
        await PlainTextResponse(why, status_code=403)(scope, receive, send)


def hostname(host: str) -> str:
    """The name in a Host header without its port; nothing for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets of an IPv6 address that do not close
        return ""


def netloc(origin: str) -> str | None:
    """Host and port of an Origin header; None for what is none, which equals no host."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def is_local(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
