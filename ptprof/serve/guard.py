"""Who may ask: everyone, or who has the token; and no page of another site."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ptprof.serve.response import refusal

# Supervisors ask these, and they tell nothing; the page's own files ask for the token by themselves.
OPEN_PATHS = ("/v2/health/live", "/v2/health/ready", "/", "/page.js", "/page.css")


class Guard:
    """ASGI middleware: lets a request through that has the bearer token, where there is one.

    A browser sends what any page asks it to send, to this machine too: a request that says it comes from a
    page of another origin is refused, token or not.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if _from_elsewhere(headers):
                app = refusal("pages of other sites may not ask this server", 403)
            elif scope["path"] not in OPEN_PATHS and not self._known(headers):
                app = refusal("this server wants the header Authorization: Bearer, with its token", 401)
        await app(scope, receive, send)

    def _known(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Compared in a time that tells nothing of how much of it is right.
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1"), self._token
        )


def _from_elsewhere(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True
