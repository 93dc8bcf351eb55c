"""
What a registry wants before it answers: nothing, a password, or a token that a third place gives out.

The challenge stands in `WWW-Authenticate` (RFC 9110, 11.6.1); tokens are those of
https://distribution.github.io/distribution/spec/auth/token/. Whoever answers with a challenge says where credentials go
next, so what it says is checked first (CVE-2020-15157, CVE-2026-48978): they go to the registry's own host, to the
domain above it, or to the one host that Docker Hub has for it; over http to this machine alone.
"""

from __future__ import annotations

__all__ = ["Authority"]

import ipaddress
import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from envparity.errors import IntegrityError, MalformedError, UnreachableError
from envparity.network import Client, Response, address_fault, is_loopback, printable
from envparity.oci.credentials import DOCKER_HUB, IDENTITY, Login

_TOKEN_LIMIT = 1 << 20
_TOKEN_WITHIN_S = 30.0
_MOST_SCOPES = 16
_HUB_REALM = "auth.docker.io"
_WORD = re.compile(r'([A-Za-z_]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?')


class Authority:
    """
    The right to use repositories. Safe for several threads; a token is asked for once and used by all.

    Args:
        base: the registry's address, `https://host[:port]`.
        scope: what a token must be for. To read, that gives way to what the challenge says.
        writes: a token must be for `scope` and, besides, for whatever else a challenge says: a request that only reads
            would get one that cannot write, and to mount a blob takes the right to read another repository.
        login: finds the user's login for the registry, when it is first needed.
    """

    def __init__(
        self, client: Client, base: str, scope: str, login: Callable[[], Login | None], writes: bool = False
    ) -> None:
        self._client = client
        self._base = base
        self._scopes = [scope]
        self._reads: list[str] = []
        self._dropped: set[str] = set()
        self._writes = writes
        self._find_login = login
        self._lock = threading.Lock()
        self._header = ""

    def also_reads(self, repository: str) -> None:
        """
        Ask for the right to read another repository too, which mounting a blob from there takes: many registries begin
        an upload where it is missing, and never say what they lacked. Where the place of tokens refuses, it is dropped.
        """
        with self._lock:
            scope = f"repository:{repository}:pull"
            if scope not in self._reads and scope not in self._dropped:
                self._reads.append(scope)
                if self._header.startswith("Bearer "):
                    self._header = ""

    @property
    def header(self) -> str:
        """The value of `Authorization` as it is now; empty where nothing was asked for yet."""
        return self._header

    def answer(self, challenge: str, used: str) -> bool:
        """
        Get what a 401 asks for. `used` is the header that was refused; another thread may have got a newer one already.

        Returns:
            Whether asking again can help: False where what we have is all that there is.

        Raises:
            IntegrityError: the credentials should go to a host that they were not given for.
            UnreachableError, MalformedError: the place of the tokens does not give one.
        """
        with self._lock:
            if self._header != used:
                return True
            challenges = _challenges(challenge)
            login = self._find_login()
            if "bearer" in challenges and not used.startswith("Bearer "):
                self._header = "Bearer " + self._granted(challenges["bearer"], login)
                return True
            if login is not None and login.user == IDENTITY:
                return False  # it can be exchanged for a token, and is no password
            if "basic" in challenges and "bearer" not in challenges and login is not None and not used:
                self._header = login.basic
                return True
            return False

    def expired(self, used: str) -> None:
        """Forget a token that was good and is no longer; the next 401 gets another."""
        with self._lock:
            if self._header == used and used.startswith("Bearer "):
                self._header = ""

    def _granted(self, challenge: dict[str, str], login: Login | None) -> str:
        try:
            return self._token(challenge, login)
        except UnreachableError:
            if not self._reads:
                raise
            self._dropped.update(self._reads)
            self._reads.clear()
            return self._token(challenge, login)

    def _token(self, challenge: dict[str, str], login: Login | None) -> str:
        realm = challenge.get("realm", "")
        _require_realm(realm, self._base, secret=login is not None)
        asked = [pair for pair in parse_qsl(urlsplit(realm).query) if pair[0] not in {"scope", "service"}]
        given = challenge.get("scope", "").split()
        if self._writes:
            self._scopes += _others(given, self._scopes)
            given = [*self._scopes, *_others(self._reads, self._scopes)][:_MOST_SCOPES]
        asked += [("scope", scope) for scope in given or self._scopes]
        if challenge.get("service"):
            asked.append(("service", challenge["service"]))
        if login is not None and login.user == IDENTITY:
            answer = self._exchanged(realm, asked, login)
        else:
            address = urlsplit(realm)._replace(query=urlencode(asked), fragment="").geturl()
            answer = self._client.get(
                address,
                accept="application/json",
                limit=_TOKEN_LIMIT,
                headers={"authorization": login.basic} if login is not None else None,
                good=frozenset({200, 401, 403}),
                within_s=_TOKEN_WITHIN_S,
            )
        host = urlsplit(self._base).netloc
        if answer.status != 200:
            raise _refused(host, login)
        try:
            document: Any = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError, RecursionError) as error:
            raise MalformedError(
                f"{printable(realm)} does not answer with a token for {host}",
                hint="a proxy or a captive portal may stand in between: open the address in a browser",
            ) from error
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise MalformedError(f"{printable(realm)} answers without a token for {host}")
        return token

    def _exchanged(self, realm: str, asked: list[tuple[str, str]], login: Login) -> Response:
        """
        What an identity token is exchanged for
        (https://distribution.github.io/distribution/spec/auth/oauth/): it goes in the body of a request, in no address.
        """
        scopes = " ".join(value for name, value in asked if name == "scope")
        more = [pair for pair in asked if pair[0] != "scope"]
        form = [*more, ("scope", scopes), ("grant_type", "refresh_token"), ("client_id", "envparity")]
        data = urlencode([*form, ("refresh_token", login.secret)]).encode()
        return self._client.send(
            "POST",
            urlsplit(realm)._replace(query="", fragment="").geturl(),
            good=frozenset({200, 400, 401, 403}),
            headers={"accept": "application/json", "content-type": "application/x-www-form-urlencoded"},
            body=lambda: iter((data,)),
            size_bytes=len(data),
            limit=_TOKEN_LIMIT,
        )


def _others(scopes: Iterable[str], known: Iterable[str]) -> list[str]:
    """The scopes of repositories that no known one is for."""
    begun = {scope.rpartition(":")[0] for scope in known}
    return [scope for scope in scopes if scope.rpartition(":")[0] not in begun]


def refused(base: str, login: Login | None) -> UnreachableError:
    """The error for a registry that wants other credentials than there are."""
    return _refused(urlsplit(base).netloc, login)


def _refused(host: str, login: Login | None) -> UnreachableError:
    if login is None:
        return UnreachableError(
            f"{host} wants credentials, and there are none for it", hint=f"log in first: `docker login {host}`"
        )
    who = "its identity token" if login.user == IDENTITY else f"the login of `{login.user}`"
    return UnreachableError(f"{host} refuses {who}", hint=f"check its rights, or log in again: `docker login {host}`")


def _challenges(header: str) -> dict[str, dict[str, str]]:
    """`Bearer realm="…",service="…"`, taken apart: scheme to parameters, both in lower case."""
    found: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for match in _WORD.finditer(header[:2048]):
        word, quoted, plain = match.groups()
        if quoted is None and plain is None:
            values = found.setdefault(word.lower(), {})  # a word without a value is the next scheme
        else:
            values.setdefault(word.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
    return found


def _require_realm(realm: str, base: str, *, secret: bool) -> None:
    """Raise unless a registry at `base` may send us to this realm for a token."""
    own = urlsplit(base)
    registry = own.hostname or ""
    if address_fault(realm) or "@" in urlsplit(realm).netloc:
        raise IntegrityError(
            f"{own.netloc} asks for a token from what is no address: `{printable(realm)}`",
            hint="nothing was sent there; is this the registry that you mean?",
        )
    asked = urlsplit(realm)
    host = asked.hostname or ""
    if asked.scheme == "http" and not (is_loopback(host) and is_loopback(registry)):
        raise IntegrityError(
            f"{own.netloc} asks to send a login over http, to {host}", hint="nothing was sent; only https protects it"
        )
    if host == registry or (registry == DOCKER_HUB and host == _HUB_REALM):
        return
    if _is_of_this_network(host) and not _is_of_this_network(registry):
        raise IntegrityError(
            f"{own.netloc} asks for a token from {host}, an address of this network", hint="nothing was sent there"
        )
    # Who has the domain above a host decides what the host is; GitLab keeps its tokens there.
    if secret and not (registry.endswith("." + host) and "." in host):
        raise IntegrityError(
            f"{own.netloc} asks to send its login to another host, {host}",
            hint="nothing was sent; a login goes to the host that it was given for, and to no other",
        )


def _is_of_this_network(host: str) -> bool:
    if is_loopback(host) or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
