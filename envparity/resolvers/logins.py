"""
Who we are to an index or a channel: what its address, the environment, netrc or a keyring says, and to whom that may be
told.

A login is bound to the origin (scheme, host, port) that its owner wrote it for, and goes nowhere else; in the clear it
goes to this machine alone. Nothing of it is printed or written.

    1  a user and password in the address of an index (`--index`, PIP_INDEX_URL, UV_INDEX, …)
    2  ENVPARITY_INDEX_NAME_USERNAME and _PASSWORD (or uv's, UV_INDEX_NAME_…), of an index that is called NAME; of a
       channel of conda, ENVPARITY_CHANNEL_NAME_URL, which may hold its token (`https://HOST/t/TOKEN/CHANNEL`), or
       _USERNAME and _PASSWORD beside it
    3  the line `machine HOST` of netrc (https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html)
    4  the keyring, only where the place has refused (https://keyring.readthedocs.io/)
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from envparity.errors import EnvparityError
from envparity.network import Login, address_fault, is_loopback, origin, user_of
from envparity.process import Command, run
from envparity.resolvers.indexes import Index
from envparity.resolvers.problems import PYPI

_URLS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_KEYRING_WITHIN_S = 60.0

# What the keyring's own program may see of our environment: where it keeps its settings, and how it reaches its store.
_KEYRING_NAMES = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "GNUPGHOME", "PASSWORD_STORE_DIR", "PYTHON_KEYRING_BACKEND",
    "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip
_KEYRING_PREFIXES = ("AWS_", "AZURE_", "CLOUDSDK_", "KEYRING_", "ARTIFACTS_")


@dataclass(frozen=True)
class _Bound:
    """The address of an index, and who we are there as far as that is known without asking anybody."""

    index: Index
    user: str = ""
    login: Login | None = None
    stem: str = ""


@dataclass(frozen=True)
class _Tokened:
    """A channel whose address holds a token: what stands before and after it."""

    before: str
    token: str = field(repr=False)
    after: str

    @property
    def root(self) -> str:
        """The address of the channel as a lock has it."""
        return f"{self.before}/{self.after}"

    def placed(self, url: str) -> str:
        return f"{self.before}/t/{self.token}/{self.after}{url.removeprefix(self.root)}"


class Logins:
    """
    The logins of one run. Safe for several threads; a keyring is asked once for a place.

    Args:
        environ: variables, HOME and PATH.
        named: the indexes that the caller named, whose names the variables may go by.
    """

    def __init__(self, environ: Mapping[str, str], named: Iterable[Index] = ()) -> None:
        self._environ = environ
        self._bound = tuple(_bound(environ, named))
        self._tokens = tuple(_tokens(environ))
        self._asked: dict[str, Login | None] = {}
        self._asking = threading.Lock()
        self._netrc: dict[str, Login] | None = None
        self._faults: list[str] = []

    def header(self, url: str, *, refused: bool) -> str:
        """
        The value of `Authorization` for an address; empty where there is none.

        Args:
            refused: the place has said no to what it was sent, so that the keyring may be asked too.
        """
        login = self._login(url, refused=refused)
        return login.basic if login is not None else ""

    def _login(self, url: str, *, refused: bool) -> Login | None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            return None
        nearest = self._nearest(url)
        login = nearest.login if nearest is not None else None
        login = login or self._of_netrc(parts.hostname or "")
        if refused:
            login = self._of_keyring(url, nearest) or login
        return login

    def address(self, url: str) -> str:
        """
        The address with its login in it, for another program's environment; as it is where there is none. It is a
        secret then: never an argument, a file or a message.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc or url == PYPI:
            return url
        login = self._login(url, refused=False) or self._login(url, refused=True)
        if login is None:
            return url
        user = f"{quote(login.user, safe='')}:{quote(login.secret, safe='')}"
        return parts._replace(netloc=f"{user}@{parts.netloc}").geturl()

    def placed(self, url: str) -> str:
        """
        The address with the token of its channel in it, which is a secret then; as it is where there is none. What lies
        beside the channel, or would travel in the clear, never gets it.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            return url
        found = [item for item in self._tokens if url == item.root or url.startswith(f"{item.root}/")]
        return max(found, key=lambda item: len(item.root)).placed(url) if found else url

    def hint(self, url: str) -> str:
        """What to set so that a place which refused lets us in."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            return "credentials are sent over https only: name the index by an https address"
        nearest = self._nearest(url)
        name = nearest.index.name if nearest is not None else ""
        if re.search(r"\.(conda|tar\.bz2)$", parts.path) or (nearest is not None and nearest.stem):
            return channel_hint(parts.hostname or "", name)
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            name = ""
        stem = f"ENVPARITY_INDEX_{_variable(name) if name else 'NAME'}"
        address = "" if name else f"{stem}_URL (its address), "
        failed = f" ({'; '.join(self._faults)})" if self._faults else ""
        return (
            f"set {address}{stem}_USERNAME and {stem}_PASSWORD, or put `machine {parts.hostname} login … password …`"
            f" into netrc, or the password into the keyring (and the user into the address: https://USER@…){failed}"
        )

    def _nearest(self, url: str) -> _Bound | None:
        """Of the indexes of that origin, the one whose path has most in common, since a host may have several."""
        same = [item for item in self._bound if origin(item.index.url) == origin(url)]
        return max(same, key=lambda item: (_in_common(item.index.url, url), item.login is not None), default=None)

    def _of_netrc(self, host: str) -> Login | None:
        with self._asking:
            if self._netrc is None:
                self._netrc = self._read_netrc()
        return self._netrc.get(host)

    def _read_netrc(self) -> dict[str, Login]:
        import netrc

        home = self._environ.get("HOME", "")
        place = self._environ.get("NETRC") or (f"{home}/.netrc" if home else "")
        try:
            hosts = netrc.netrc(place).hosts if place and Path(place).is_file() else {}
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
            # Its message may hold the word that was not understood, which may be a password.
            at = f", line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else ""
            self._faults.append(f"`{place}` cannot be read{at}")
            return {}
        # `default` is for every host of the world, and so for none of ours.
        return {host: Login(user, secret) for host, (user, _, secret) in hosts.items() if host != "default" and secret}

    def _of_keyring(self, url: str, nearest: _Bound | None) -> Login | None:
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        services = [nearest.index.shown, nearest.index.shown.rstrip("/"), host] if nearest is not None else [host]
        user = nearest.user if nearest is not None else ""
        with self._asking:
            for service in services:
                if service not in self._asked:
                    self._asked[service] = self._ask_keyring(service, user)
                if self._asked[service] is not None:
                    return self._asked[service]
        return None

    def _ask_keyring(self, service: str, user: str) -> Login | None:
        try:
            import keyring
        except ImportError:
            return self._ask_program(service, user)
        try:
            found = keyring.get_credential(service, user or None)
        except Exception as error:  # noqa: BLE001  a backend of anybody's may raise anything
            self._faults.append(f"the keyring failed with {type(error).__name__}")
            return None
        return Login(found.username or user, found.password) if found is not None and found.password else None

    def _ask_program(self, service: str, user: str) -> Login | None:
        program = shutil.which("keyring", path=self._environ.get("PATH", ""))
        if program is None:
            return None
        env = {
            name: value
            for name, value in self._environ.items()
            if name in _KEYRING_NAMES or name.startswith(_KEYRING_PREFIXES)
        }
        argv = (program, "--mode", "creds", "--output", "json", "get", service, *([user] if user else []))
        try:
            done = run(Command(argv, env=env, timeout_s=_KEYRING_WITHIN_S))
        except EnvparityError as error:
            self._faults.append(f"`{program}` failed with {type(error).__name__}")
            return None
        if done.status != 0:  # "no such password" is 1, and so is a keyring that is locked
            return None
        try:
            answer = json.loads(done.stdout)
            return Login(str(answer.get("username") or user), str(answer["password"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._faults.append(f"`{program}` does not answer as keyring does")
            return None


def channel_hint(host: str, name: str = "") -> str:
    """What to set so that a channel of conda lets us in."""
    stem = f"ENVPARITY_CHANNEL_{_variable(name) if re.fullmatch(r'[A-Za-z0-9._-]+', name) else 'NAME'}"
    return (
        f"set {stem}_URL to its address, with its token (`https://{host}/t/TOKEN/CHANNEL`) or with {stem}_USERNAME and"
        f" {stem}_PASSWORD beside it; or put `machine {host} login … password …` into netrc, or the password into the"
        " keyring"
    )


def _tokens(environ: Mapping[str, str]) -> Iterator[_Tokened]:
    """The channels whose addresses hold a token: `…/t/TOKEN/…`, as conda has it."""
    for variable, value in sorted(environ.items()):
        if re.fullmatch(r"ENVPARITY_CHANNEL_(.+)_URL", variable) and not address_fault(value):
            found = re.fullmatch(r"(https?://[^?#]*?)/t/([^/?#]+)/([^?#]*?)/*", value)
            if found and "@" not in found[1]:
                yield _Tokened(found[1], found[2], found[3])


def _bound(environ: Mapping[str, str], named: Iterable[Index]) -> Iterator[_Bound]:
    """Every index that the caller or the environment names, with its login where one goes by its name or address."""
    for index in (*named, *_of_environment(environ)):
        stems = [f"{maker}_INDEX_{_variable(index.name)}" for maker in ("ENVPARITY", "UV")]
        yield _login_of(environ, index, stems)
    for variable, value in sorted(environ.items()):
        match = re.fullmatch(r"ENVPARITY_CHANNEL_(.+)_URL", variable)
        if match and not address_fault(value) and "/t/" not in urlsplit(value).path:
            stem = f"ENVPARITY_CHANNEL_{match[1]}"
            yield replace(_login_of(environ, Index.of(value, match[1]), [stem]), stem=stem)


def _login_of(environ: Mapping[str, str], index: Index, stems: Iterable[str]) -> _Bound:
    user, secret = user_of(index.url)
    for stem in stems:
        if not secret and f"{stem}_PASSWORD" in environ:
            user, secret = environ.get(f"{stem}_USERNAME", user), environ[f"{stem}_PASSWORD"]
        user = user or environ.get(f"{stem}_USERNAME", "")
    return _Bound(index, user, Login(user, secret) if secret else None)


def _of_environment(environ: Mapping[str, str]) -> Iterator[Index]:
    for variable, value in sorted(environ.items()):
        match = re.fullmatch(r"ENVPARITY_INDEX_(.+)_URL", variable)
        for word in [f"{match[1]}={value}"] if match else value.split() if variable in _URLS else []:
            named = re.fullmatch(r"([A-Za-z0-9._-]+)=(.*)", word)
            name, url = (named[1], named[2]) if named else ("", word)
            if not address_fault(url):
                yield Index.of(url, name)


def _variable(name: str) -> str:
    """The name of an index as it stands in a variable: `my-corp` is MY_CORP (as uv has it)."""
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _in_common(root: str, url: str) -> int:
    """How many parts of the paths are equal, from the left."""
    pairs = zip(urlsplit(root).path.split("/"), urlsplit(url).path.split("/"), strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), 1 << 16)
