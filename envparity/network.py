"""The only HTTP client: bounded retries, time limits, no surprises, and no network at all with `--offline`."""

from __future__ import annotations

import random
import re
import socket
import sys
import threading
import time
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import unquote, urljoin, urlsplit

from envparity.collectors.urls import public_url
from envparity.errors import GoneError, MalformedError, TimeLimitError, UnreachableError, UsageError
from envparity.progress import Progress

if TYPE_CHECKING:
    import ssl

    import httpx

T = TypeVar("T")
U = TypeVar("U")

_GONE = {404, 410}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_REFUSALS = {401, 403}
_REDIRECTS = {301, 302, 303, 307, 308}
_ATTEMPTS = 4
_LONGEST_WAIT_S = 20.0
_LONGEST_FAREWELL_S = 3.0
_MOST_REDIRECTS = 5

CERTIFICATES = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))
"""
Where engines look for the authorities of one host (`HOST[:PORT]/*.crt`), and for the certificates by which they are
known to it (`*.cert` with `*.key`): https://docs.docker.com/engine/security/certificates/.
"""


@dataclass(frozen=True)
class Response:
    """An answer that was read whole. `headers` has lower-case names."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes
    public: bool = False
    """Whether it was given without credentials, by the host that was asked: so it is what anybody would be given."""


@dataclass(frozen=True)
class Part:
    """Some bytes of a file, and what its server says of which file that is (ETag, else the time of its last change)."""

    data: bytes
    identity: str


class Incoming:
    """An answer whose body is still being sent. Its reader closes it; `headers` has lower-case names."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.url = str(response.url)
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def pieces(self) -> Iterator[bytes]:
        """The bytes as they arrive, in pieces of their own size. Raises UnreachableError where the transfer breaks."""
        import httpx

        try:
            yield from self._response.iter_raw()
        except (httpx.HTTPError, httpx.StreamError) as error:
            host = urlsplit(self.url).hostname
            raise UnreachableError(f"the transfer from {host} broke off: {error or type(error).__name__}") from error

    def close(self) -> None:
        """Give the connection back, or drop it where something of the body is left."""
        self._response.close()


def printable(url: str) -> str:
    """An address as it may be shown: as it may be recorded (`public_url`), and without query and fragment."""
    return public_url(url).partition("#")[0].partition("?")[0]


def address_fault(url: str) -> str:
    """Why an address cannot be asked, or ""."""
    if re.search(r"[\x00-\x1f\x7f]", url):
        return "it holds a control character"  # which `urlsplit` would drop in silence
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            return "it is not an http or https address"
    except ValueError as error:  # a port over 65535, a bracket that is not closed
        return f"it is not an http or https address ({error})"
    if parts.scheme == "http" and "@" in parts.netloc and not is_loopback(parts.hostname):
        return "its password would travel in the clear, and only https protects it"
    return ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that nobody else hears what is said to it."""
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None


class Logins(Protocol):
    """Who we are to the places that are asked, and what to set where one refuses."""

    def header(self, url: str, *, refused: bool) -> str:
        """The value of `Authorization` for an address, or ""; `refused`: the place has said no to what it was sent."""

    def hint(self, url: str) -> str:
        """What to do where the place refuses."""

    def placed(self, url: str) -> str:
        """The address that is asked in the place of one: with a token in its path, where the place wants it there."""


@dataclass(frozen=True)
class Login:
    """A user name and its secret, for one place. The secret is never part of a text that is shown."""

    user: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of `Authorization` (RFC 7617)."""
        return "Basic " + b64encode(f"{self.user}:{self.secret}".encode()).decode("ascii")


def user_of(url: str) -> tuple[str, str]:
    """The user and the password that stand in an address."""
    user, _, secret = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return unquote(user), unquote(secret)


def without_logins(text: str) -> str:
    """A text of somebody else's, which may repeat the addresses that it was given, without users and passwords."""
    return re.sub(r"//[^/@\s]*@", "//", text)


class Client:
    """
    One client for everything that is fetched. It follows redirects itself, and never from https to http.

    Args:
        offline: ask nobody; the error then names the host and the option.
        timeout_s: for a connection, and for each wait for more bytes.
        attempts: how often a question is asked before it is given up, where asking again can help.
        logins: who we are where a place wants to know; nobody, where it is not given. Whoever takes 401 for an answer
            deals with it alone.
        certificates: folders with the authorities of single hosts.
        insecure: believe this machine whatever its certificate says; every other host is verified all the same.
    """

    def __init__(
        self,
        *,
        offline: bool = False,
        timeout_s: float = 30.0,
        attempts: int = 4,
        logins: Logins | None = None,
        certificates: Sequence[Path] = CERTIFICATES,
        insecure: bool = False,
    ) -> None:
        self.offline = offline
        self._insecure = insecure
        self._logins = logins
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._certificates = certificates
        self._opened: dict[tuple[bool, bool, Path | None], httpx.Client] = {}
        self._opening = threading.Lock()
        self._abandoned = threading.Event()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        for client in self._opened.values():
            client.close()
        self._opened.clear()

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

    def each(
        self, ask: Callable[[T], U], items: Sequence[T], *, at_once: int, title: str, progress: Progress
    ) -> tuple[U, ...]:
        """The answers for all of these, in their order, so many of them asked for side by side (see `workers`)."""
        with self.workers(at_once) as pool, progress.task(title, len(items)) as advance:
            found = []
            for answer in pool.map(ask, items):
                found.append(answer)
                advance(1)
            return tuple(found)

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

    def is_nobody(self, url: str) -> bool:
        """Whether a place is asked without saying who we are, unless it wants to know; and whether it may be asked."""
        return not self.offline and (self._logins is None or not self._logins.header(url, refused=False))

    @property
    def timeout_s(self) -> float:
        """For a connection, and for each wait for more bytes."""
        return self._timeout_s

    def get(
        self,
        url: str,
        *,
        accept: str = "*/*",
        limit: int = 64 << 20,
        headers: Mapping[str, str] | None = None,
        good: frozenset[int] = frozenset({200, 404, 410}),
        within_s: float | None = None,
    ) -> Response:
        """
        The whole answer to a GET: status 200, or 404 and 410, which are answers too.

        Args:
            headers: more to send. `authorization` never goes to another origin than that of `url`.
            good: the statuses that are an answer.
            within_s: how long the body may take, however steadily it drips.

        Raises:
            UnreachableError: no answer, another status, or offline. TimeLimitError: the body took too long.
            MalformedError: the answer is larger than `limit` bytes.
        """

        def whole(response: httpx.Response) -> Response:
            body = bytearray()
            until = time.monotonic() + within_s if within_s is not None else None
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > limit:
                    raise MalformedError(f"{printable(url)} answers with more than {limit:,} bytes")
                if until is not None and time.monotonic() > until:
                    raise TimeLimitError(
                        f"{printable(url)} did not finish its answer within {within_s:g} s",
                        hint="ask again later; the place, or a proxy on the way, sends too slowly",
                    )
            found = {name.lower(): value for name, value in response.headers.items()}
            public = "authorization" not in response.request.headers and origin(str(response.url)) == origin(url)
            return Response(str(response.url), response.status_code, found, bytes(body), public)

        return self._ask(url, {"accept": accept, **(headers or {})}, good, whole)

    def download(self, url: str, into: Callable[[Iterator[bytes]], T]) -> T:
        """
        Hand the bytes of a 200 answer, as they are sent, to `into`, which checks and keeps them; its answer is ours.

        `into` is called again, from the first byte, where a transfer broke off.

        Raises:
            UnreachableError: no answer, another status (404 too), a broken transfer, or offline.
        """
        return self._ask(url, {}, frozenset({200}), lambda response: into(response.iter_raw(1 << 18)))

    def part(self, url: str, start: int, count: int, *, size: int, identity: str | None = None) -> Part | None:
        """
        So many bytes of a file of this size, or None where the answer is not exactly them: the server knows no ranges,
        gives another part, or a part of a file of another size or (where one is named) of another identity.

        What was not asked for is not read. RFC 9110, 14: "A server MAY ignore the Range header field".

        Raises:
            UnreachableError: no answer, another status, a transfer that breaks off twice, or offline.
        """

        def exactly(response: httpx.Response) -> Part | None:
            headers = response.headers
            found = headers.get("etag") or headers.get("last-modified") or ""
            if (
                response.status_code != 206
                or headers.get("content-range", "").strip() != f"bytes {start}-{start + count - 1}/{size}"
                or headers.get("content-encoding", "identity") != "identity"
                or (identity is not None and found != identity)
            ):
                return None
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > count:
                    return None
            return Part(bytes(body), found) if len(body) == count else None

        wanted = {"range": f"bytes={start}-{start + count - 1}"}
        return self._ask(url, wanted, frozenset({200, 206, 416}), exactly, attempts=2)

    def incoming(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        good: frozenset[int] = frozenset({200}),
        attempts: int | None = None,
    ) -> Incoming:
        """
        An answer that the caller reads piece by piece, and closes.

        Raises:
            UnreachableError: no answer, another status, or offline.
        """
        return self._ask(url, headers or {}, good, Incoming, leave_open=True, attempts=attempts)

    def send(
        self,
        method: str,
        url: str,
        *,
        good: frozenset[int],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Iterator[bytes]] | None = None,
        size_bytes: int = 0,
        limit: int = 64 << 10,
        attempts: int | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """
        The answer to a request that may change something. A redirect is an answer and is not followed.

        Args:
            body: gives the bytes to send, from the first one each time that it is called; none where it is not named.
            size_bytes: how many they are.
            limit: how much of the answer's own body is read; the rest is dropped.
            timeout_s: for each wait, where it is another than the client's.

        Raises:
            UnreachableError: no answer, a status that is not in `good`, or offline.
        """

        def beginning(response: httpx.Response) -> Response:
            found = {name.lower(): value for name, value in response.headers.items()}
            read = bytearray()
            if method != "HEAD":
                for chunk in response.iter_bytes():
                    read += chunk
                    if len(read) >= limit:
                        break
            return Response(str(response.url), response.status_code, found, bytes(read[:limit]))

        def answer() -> httpx.Response:
            client = self._client(url)
            sent = {"accept": "*/*", **(headers or {}), "content-length": str(size_bytes)}
            if method == "HEAD":
                del sent["content-length"]
            request = client.build_request(
                method,
                url,
                headers=sent,
                content=body() if body is not None else None,
                timeout=timeout_s or self._timeout_s,
                extensions={"trace": self._remember},
            )
            return client.send(request, stream=True)

        _import_httpx()
        _require_address(url)
        return self._asked(url, answer, good, beginning, attempts=attempts)

    def _ask(
        self,
        url: str,
        headers: Mapping[str, str],
        good: frozenset[int],
        use: Callable[[httpx.Response], T],
        *,
        leave_open: bool = False,
        attempts: int | None = None,
    ) -> T:
        _import_httpx()
        _require_address(url)
        url, headers = _authorised(url, headers)
        logins = self._logins if 401 not in good and "authorization" not in headers else None
        known: str | None = None
        place = logins.placed(url) if logins is not None else url

        def answer() -> httpx.Response:
            nonlocal known
            if known is None:
                known = logins.header(url, refused=False) if logins is not None else ""
            response = self._answer(place, {**headers, "authorization": known} if known else headers)
            if response.status_code in _REFUSALS and logins is not None and origin(str(response.url)) == origin(url):
                better = logins.header(url, refused=True)
                if better and better != known:
                    response.close()
                    known = better
                    response = self._answer(place, {**headers, "authorization": known})
            return response

        def hint(response: httpx.Response) -> str:
            return self._hint(response, url, known or "")

        return self._asked(url, answer, good, use, hint=hint, leave_open=leave_open, attempts=attempts)

    def _asked(
        self,
        url: str,
        answer: Callable[[], httpx.Response],
        good: frozenset[int],
        use: Callable[[httpx.Response], T],
        *,
        hint: Callable[[httpx.Response], str] = lambda response: "",
        leave_open: bool = False,
        attempts: int | None = None,
    ) -> T:
        import httpx

        host = urlsplit(url).netloc.rpartition("@")[2]
        if self.offline:
            raise UnreachableError(
                f"{printable(url)} is needed, and --offline forbids to ask {host}",
                hint="run once without --offline to fill the cache",
            )
        attempts = attempts or self._attempts
        for attempt in range(1, attempts + 1):
            wait_s = min(_LONGEST_WAIT_S, 0.3 * 2**attempt * (1 + random.random()))  # noqa: S311
            try:
                response = answer()
                try:
                    if response.status_code in good:
                        return use(response)
                    failure = f"{printable(url)} answers {response.status_code} {response.reason_phrase}"
                    if response.status_code in _GONE:
                        raise GoneError(failure, hint=hint(response))
                    if response.status_code not in _AGAIN:
                        raise UnreachableError(failure, hint=hint(response))
                    wait_s = _asked_wait_s(response.headers.get("retry-after", ""), wait_s)
                finally:
                    # What an error's body says is never read: it may be endless.
                    if not (leave_open and response.status_code in good):
                        response.close()
            except httpx.HTTPError as error:
                reached = _asked_host(error) or host
                also = "" if reached == host else f", where {host} redirects to"
                failure = f"cannot reach {reached}{also}: {error or type(error).__name__}"
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    # Asking again cannot help; a wrong clock and a proxy with its own authority are the usual causes.
                    advice = "check this machine's clock, or name your authority's bundle in SSL_CERT_FILE"
                    if is_loopback(urlsplit(f"//{reached}").hostname or ""):
                        advice += "; a registry on this machine is believed with --insecure"
                    raise UnreachableError(failure, hint=advice) from error
            if self._abandoned.is_set() or (attempt < attempts and self._abandoned.wait(wait_s)):
                raise UnreachableError(f"{failure}, and it is no longer wanted")
        raise UnreachableError(
            f"{failure} ({attempts} attempts)" if attempts > 1 else failure,
            hint=f"check the network, or HTTPS_PROXY, for {host}; with everything cached, --offline asks nobody",
        )

    def _hint(self, response: httpx.Response, url: str, known: str) -> str:
        status, reached = response.status_code, str(response.url)
        if status not in _REFUSALS or self._logins is None:
            return _HINTS.get(status, "")
        if origin(reached) != origin(url):
            return f"{urlsplit(url).hostname} redirects there, and credentials go to no other host than their own"
        said = "it does not accept the credentials that there are for it" if known else "it wants credentials"
        return f"{said}: {self._logins.hint(url)}"

    def _answer(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """The answer after all redirects, with its body still to come; the caller closes it."""
        first = url
        for _ in range(_MOST_REDIRECTS + 1):
            _require_address(url)
            # "identity": a blob's digest is that of its bytes as they are stored (RFC 9110, 8.4).
            sent = {"accept": "*/*", "accept-encoding": "identity", **headers}
            if origin(url) != origin(first):
                # CVE-2018-18074, GHSA-vh4v-2xq2-g5cg: credentials are for the host that they were given for.
                sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
            client = self._client(url)
            request = client.build_request("GET", url, headers=sent, extensions={"trace": self._remember})
            response = client.send(request, stream=True)
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            target = _joined(url, response.headers.get("location", ""))
            if address_fault(target):
                raise UnreachableError(f"{printable(url)} redirects to `{printable(target)}`, which is not followed")
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
                raise UnreachableError(f"{printable(url)} redirects from https to `{printable(target)}`")
            url = target
        raise UnreachableError(f"{printable(url)} redirects more than {_MOST_REDIRECTS} times")

    def _client(self, url: str) -> httpx.Client:
        """The client for a host: what is said to this machine, in the clear too, is not for a proxy."""
        import httpx

        parts = urlsplit(url)
        with self._opening:
            direct = is_loopback(parts.hostname or "")
            in_clear = direct and parts.scheme == "http"
            believed = in_clear or (direct and self._insecure)
            own = None if believed else _own_folder(parts.netloc.rpartition("@")[2], self._certificates)
            if (direct, in_clear, own) not in self._opened:
                try:
                    self._opened[direct, in_clear, own] = httpx.Client(
                        verify=_authorities(none=believed, own=own),
                        timeout=self._timeout_s,
                        follow_redirects=False,
                        trust_env=not direct,
                    )
                except ValueError as error:  # of a proxy's address
                    raise UsageError(
                        "the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used",
                        hint="write it as http://HOST:PORT",
                    ) from error
            return self._opened[direct, in_clear, own]


def _own_folder(host: str, folders: Sequence[Path]) -> Path | None:
    """The first folder of certificates for this very host and port."""
    named = (folder / host for folder in folders if host not in {"", ".", ".."})
    return next((place for place in named if place.is_dir()), None)


def _authorities(*, none: bool, own: Path | None = None) -> ssl.SSLContext:
    """
    The system's authorities (a company's own is there), and certifi's where the system has none; and those of one host,
    with the certificate by which we are known to it. With `none` nothing is verified: of this machine alone, in the
    clear or where its caller said so.
    """
    import ssl

    if none:
        # To read all of them takes longer than to ask this machine a question.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for place in sorted(own.iterdir()) if own is not None else ():
        try:
            if place.suffix == ".crt":
                context.load_verify_locations(place)
            elif place.suffix == ".cert":
                context.load_cert_chain(place, place.with_suffix(".key"))
        except OSError as error:  # of which ssl.SSLError is one
            raise UsageError(
                f"`{place}` cannot be used: {error}", hint="it should be PEM, with its key beside it"
            ) from error
    return context


def _import_httpx() -> None:
    """
    Import httpx without the command line that it brings where rich is installed, which takes half of the time of all
    the import.
    """
    if "httpx" in sys.modules:
        return
    # Of such a module Python says that it is not to be found (https://docs.python.org/3/reference/import.html).
    sys.modules.setdefault("httpx._main", cast(ModuleType, None))
    try:
        import httpx  # noqa: F401
    finally:
        if sys.modules.get("httpx._main", sys) is None:
            sys.modules.pop("httpx._main", None)


_HINTS = {
    401: "this place wants credentials",
    403: "this place refuses: ask whoever runs it",
    404: "it is gone from there",
    407: "the proxy wants credentials: put them into HTTPS_PROXY",
}


def _asked_host(error: httpx.HTTPError) -> str:
    """The host, with its port, that was asked when this went wrong, which a redirect may have named."""
    try:
        return error.request.url.netloc.decode("ascii", "replace")
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


def _authorised(url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """The address without a user and password, which are sent as a header (RFC 7617), so that a redirect loses them."""
    _, at, host = urlsplit(url).netloc.rpartition("@")
    if not at:
        return url, headers
    login = Login(*user_of(url))
    bare = urlsplit(url)._replace(netloc=host).geturl()
    if "authorization" in headers or not login.secret:
        return bare, headers
    return bare, {**headers, "authorization": login.basic}


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Whom an address asks: scheme, host and port (RFC 6454), where the port of the scheme is the same as none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise UnreachableError(f"{printable(url)} redirects to what is no address: {error}") from error


def _asked_wait_s(header: str, otherwise_s: float) -> float:
    # RFC 9110, 10.2.3: seconds, or a date. A date is not worth a parser: our own back-off serves.
    return min(float(header), _LONGEST_WAIT_S) if header.isascii() and header.isdigit() else otherwise_s
