"""Serves `/metrics` and, with a secret in its address, the live page and its figures.

The page names files and programs that not every user of the machine may see, and a port on loopback is open to all of
them. So its address has a random part, which stands in a file of the cache directory that only the mount's owner can
read (`llmfs status` shows it to who can). What Prometheus reads has no names in it and needs no secret.

The page asks nobody else for anything: a Content-Security-Policy allows its own script and style, by their hashes,
and its own figures, and nothing more. No other origin is told anything (there are no CORS headers).

Requests are served by threads of their own. They wait for the event loop to gather the figures, at most twice a second
however many look.
"""

import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication

import trio
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

log = logging.getLogger(__name__)

BELIEVED_S = 0.5
"""How long gathered figures are told to others as well."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_PLAIN = (
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class Page:
    """The page and its figures, below an address that is not to be guessed."""

    def __init__(self, gather: Callable[[], Mapping[str, Any]], token: trio.lowlevel.TrioToken) -> None:
        """`gather` runs on the event loop of `token`."""
        self.secret = secrets.token_urlsafe(16)
        self._gather = gather
        self._token = token
        self._lock = threading.Lock()
        self._told: tuple[float, bytes] = (float("-inf"), b"")
        self._html = resources.files(__package__).joinpath("page.html").read_bytes()
        self._policy = content_security_policy(self._html.decode())

    def answer(self, path: str) -> tuple[str, list[tuple[str, str]], bytes] | None:
        """Status, headers and body for a path; None where it is none of the page's."""
        secret, _, rest = path.removeprefix("/").partition("/")
        if not hmac.compare_digest(secret.encode("utf-8", "replace"), self.secret.encode()):
            return None
        if rest == "":
            if not path.endswith("/"):
                return "308 Permanent Redirect", [("Location", f"/{self.secret}/"), *_PLAIN], b""
            headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", self._policy)]
            return "200 OK", [*headers, *_PLAIN], self._html
        if rest == "data":
            try:
                return "200 OK", [("Content-Type", "application/json"), *_PLAIN], self._figures()
            except trio.RunFinishedError:
                return "503 Service Unavailable", [*_PLAIN], b"the mount is going away"
        return "404 Not Found", [("Content-Type", "text/plain"), *_PLAIN], b"there is no such thing here\n"

    def _figures(self) -> bytes:
        with self._lock:
            if time.monotonic() - self._told[0] > BELIEVED_S:
                figures = trio.from_thread.run_sync(self._gather, trio_token=self._token)
                self._told = (time.monotonic(), json.dumps(figures, allow_nan=False).encode())
            return self._told[1]


def serve(registry: CollectorRegistry, address: str, port: int, page: Page | None) -> int:
    """Serve in the background, for as long as the process lives; returns the port. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    class Server(ThreadingWSGIServer):
        address_family = family

        def server_bind(self) -> None:  # not WSGIServer's, which asks the resolver for our own name
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
            self.server_name, self.server_port = address, int(self.server_address[1])
            self.setup_environ()

    server: WSGIServer = Server((address, port), _Handler)
    server.set_app(_application(registry, page, address))
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return server.server_port


def content_security_policy(html: str) -> str:
    """What a browser may do for the page: run its script, apply its style, ask for its figures."""
    script, style = (_hashes(html, tag) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hashes(html: str, tag: str) -> str:
    bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in bodies)


def _application(registry: CollectorRegistry, page: Page | None, address: str) -> WSGIApplication:
    metrics = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if page is not None and environ["REQUEST_METHOD"] in ("GET", "HEAD") and _is_meant(environ, address):
            answer = page.answer(environ.get("PATH_INFO", ""))
            if answer is not None:
                status, headers, body = answer
                start_response(status, [*headers, ("Content-Length", str(len(body)))])
                return [body if environ["REQUEST_METHOD"] == "GET" else b""]
        answered: Iterable[bytes] = metrics(environ, start_response)
        return answered

    return application


def _is_meant(environ: Mapping[str, Any], address: str) -> bool:
    """Whether a browser was sent here by an address of ours, and not by another name that was made to mean it."""
    if address not in _LOOPBACK:
        return True  # by which names a machine is known outside, we do not know; the secret has to do
    host = re.sub(r":\d+$", "", environ.get("HTTP_HOST", "")).strip("[]")
    return host in _LOOPBACK


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the base's)
        """Nobody wants each look in the log, least of all with the secret in it."""
