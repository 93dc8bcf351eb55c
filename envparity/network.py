"""The only HTTP client: bounded retries, time limits, no surprises, and no network at all with `--offline`."""

from __future__ import annotations

import random
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from envparity.collectors.urls import public_url
from envparity.errors import MalformedError, UnreachableError, UsageError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_ATTEMPTS = 4
_LONGEST_WAIT_S = 20.0
_LONGEST_FAREWELL_S = 3.0
_MOST_REDIRECTS = 5


@dataclass(frozen=True)
class Response:
    """An answer that was read whole. `headers` has lower-case names."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


def printable(url: str) -> str:
    """An address as it may be shown: as it may be recorded (`public_url`), and without query and fragment."""
    return public_url(url).partition("#")[0].partition("?")[0]


def address_fault(url: str) -> str:
    """Why an address cannot be asked, or ""."""
    if any(character < " " or character == "\x7f" for character in url):
        return "it holds a control character"  # which `urlsplit` would drop in silence
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            return "it is not an http or https address"
    except ValueError as error:  # a port over 65535, a bracket that is not closed
        return f"it is not an http or https address ({error})"
    if parts.scheme == "http" and "@" in parts.netloc and not _is_here(parts.hostname):
        return "its password would travel in the clear, and only https protects it"
    return ""


def _is_here(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


class Client:
    """
    One client for everything that is fetched. It follows redirects itself, and never from https to http.

    Args:
        offline: ask nobody; the error then names the host and the option.
        timeout_s: for a connection, and for each wait for more bytes.
        attempts: how often a question is asked before it is given up, where asking again can help.
    """

    def __init__(self, *, offline: bool = False, timeout_s: float = 30.0, attempts: int = 4) -> None:
        self.offline = offline
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._opened: httpx.Client | None = None
        self._opening = threading.Lock()
        self._abandoned = threading.Event()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @contextmanager
    def workers(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """
        Threads that ask side by side.

        Where the block is left by an exception (Ctrl-C is one), nobody waits for answers that nobody wants any more:
        every connection is shut, so that each thread ends at once and removes what it has half written. A thread that
        is still waiting for a connection to be made has written nothing, and is left behind.
        """
        pool = ThreadPoolExecutor(count, thread_name_prefix=f"asking-{id(self)}")
        try:
            yield pool
        except BaseException:
            self._abandon()
            pool.shutdown(wait=False, cancel_futures=True)
            threads = [thread for thread in threading.enumerate() if thread.name.startswith(f"asking-{id(self)}_")]
            until = time.monotonic() + _LONGEST_FAREWELL_S
            for thread in threads:
                thread.join(max(0, until - time.monotonic()))
            if not any(thread.is_alive() for thread in threads):
                self._abandoned.clear()
            raise
        pool.shutdown()

    def _abandon(self) -> None:
        self._abandoned.set()
        for connection in list(self._sockets):
            with suppress(OSError):  # it may be closed already
                # Not `SSLSocket.shutdown`, which takes the TLS state away from the thread that is reading.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _remember(self, event: str, info: Mapping[str, Any]) -> None:
        # https://www.encode.io/httpcore/extensions/#trace
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            if connection is not None:
                self._sockets.add(connection)

    def get(self, url: str, *, accept: str = "*/*", limit: int = 64 << 20) -> Response:
        """
        The whole answer to a GET: status 200, or 404 and 410, which are answers too.

        Raises:
            UnreachableError: no answer, another status, or offline.
            MalformedError: the answer is larger than `limit` bytes.
        """

        def whole(response: httpx.Response) -> Response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > limit:
                    raise MalformedError(f"{printable(url)} answers with more than {limit:,} bytes")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Response(str(response.url), response.status_code, headers, bytes(body))

        return self._ask(url, accept, frozenset({200, 404, 410}), whole)

    def download(self, url: str, into: Callable[[Iterator[bytes]], T]) -> T:
        """
        Hand the bytes of a 200 answer, as they are sent, to `into`, which checks and keeps them; its answer is ours.

        `into` is called again, from the first byte, where a transfer broke off.

        Raises:
            UnreachableError: no answer, another status (404 too), a broken transfer, or offline.
        """
        return self._ask(url, "*/*", frozenset({200}), lambda response: into(response.iter_raw(1 << 18)))

    def _ask(self, url: str, accept: str, good: frozenset[int], use: Callable[[httpx.Response], T]) -> T:
        import httpx

        _require_address(url)
        host = urlsplit(url).hostname
        if self.offline:
            raise UnreachableError(
                f"{printable(url)} is needed, and --offline forbids to ask {host}",
                hint="run once without --offline to fill the cache",
            )
        for attempt in range(1, self._attempts + 1):
            wait_s = min(_LONGEST_WAIT_S, 0.3 * 2**attempt * (1 + random.random()))  # noqa: S311
            try:
                with self._answer(url, accept) as response:
                    if response.status_code in good:
                        return use(response)
                    failure = f"{printable(url)} answers {response.status_code} {response.reason_phrase}"
                    if response.status_code not in _AGAIN:
                        raise UnreachableError(failure, hint=_HINTS.get(response.status_code, ""))
                    wait_s = _asked_wait_s(response.headers.get("retry-after", ""), wait_s)
            except httpx.HTTPError as error:
                reached = _asked_host(error) or host
                also = "" if reached == host else f", where {host} redirects to"
                failure = f"cannot reach {reached}{also}: {error or type(error).__name__}"
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    # Asking again cannot help; a wrong clock and a proxy with its own authority are the usual causes.
                    raise UnreachableError(
                        failure, hint="check this machine's clock, or name your authority's bundle in SSL_CERT_FILE"
                    ) from error
            if self._abandoned.is_set() or (attempt < self._attempts and self._abandoned.wait(wait_s)):
                raise UnreachableError(f"{failure}, and it is no longer wanted")
        raise UnreachableError(
            f"{failure} ({self._attempts} attempts)",
            hint=f"check the network, or HTTPS_PROXY, for {host}; with everything cached, --offline asks nobody",
        )

    @contextmanager
    def _answer(self, url: str, accept: str) -> Iterator[httpx.Response]:
        client = self._client()
        for _ in range(_MOST_REDIRECTS + 1):
            _require_address(url)
            # "identity": a blob's digest is that of its bytes as they are stored (RFC 9110, 8.4).
            headers = {"accept": accept, "accept-encoding": "identity"}
            with client.stream("GET", url, headers=headers, extensions={"trace": self._remember}) as response:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
                target = _joined(url, response.headers.get("location", ""))
                if address_fault(target):
                    raise UnreachableError(
                        f"{printable(url)} redirects to `{printable(target)}`, which is not followed"
                    )
                if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
                    raise UnreachableError(f"{printable(url)} redirects from https to `{printable(target)}`")
                url = target
        raise UnreachableError(f"{printable(url)} redirects more than {_MOST_REDIRECTS} times")

    def _client(self) -> httpx.Client:
        import ssl

        import certifi
        import httpx

        with self._opening:
            if self._opened is None:
                # The system's authorities (a company's own is there), and certifi's where the system has none.
                context = ssl.create_default_context()
                context.load_verify_locations(certifi.where())
                try:
                    self._opened = httpx.Client(verify=context, timeout=self._timeout_s, follow_redirects=False)
                except ValueError as error:  # of a proxy's address
                    raise UsageError(
                        "the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used",
                        hint="write it as http://HOST:PORT",
                    ) from error
            return self._opened


_HINTS = {
    401: "this place wants credentials, and private places are not supported yet",
    403: "this place refuses; private places are not supported yet",
    404: "it is gone from there",
    407: "the proxy wants credentials: put them into HTTPS_PROXY",
}


def _asked_host(error: httpx.HTTPError) -> str:
    """The host that was asked when this went wrong, which a redirect may have named."""
    try:
        return error.request.url.host
    except RuntimeError:  # of an error without a request
        return ""


_WHICH = "name an address that begins with https:// and a host"


def _require_address(url: str) -> None:
    import httpx

    fault = address_fault(url)
    try:
        _ = fault or httpx.URL(url).host
    except (httpx.InvalidURL, UnicodeError) as error:  # UnicodeError: of a host that IDNA does not allow
        fault = str(error)
    if fault:
        raise UsageError(f"cannot fetch `{printable(url)}`: {fault}", hint=_WHICH)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise UnreachableError(f"{printable(url)} redirects to what is no address: {error}") from error


def _asked_wait_s(header: str, otherwise_s: float) -> float:
    # RFC 9110, 10.2.3: seconds, or a date. A date is not worth a parser: our own back-off serves.
    return min(float(header), _LONGEST_WAIT_S) if header.isdigit() else otherwise_s
