"""
Who we are to a registry: what `docker login` or `podman login` left in its file, or what a credential helper answers.

Docker's file: https://docs.docker.com/reference/cli/docker/login/; the helpers' protocol:
https://github.com/docker/docker-credential-helpers. A helper is the user's own program, and is started only where the
user's file names it.
"""

from __future__ import annotations

__all__ = ["IDENTITY", "Login", "login_for"]

import base64
import binascii
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envparity.errors import MalformedError, UnreachableError
from envparity.files import read_bytes
from envparity.network import Login
from envparity.process import Command, run

DOCKER_HUB = "registry-1.docker.io"
_HUB_NAMES = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", DOCKER_HUB)

# What a helper may see of our environment: where it keeps its own settings, and nothing else.
_HELPER_NAMES = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "PASSWORD_STORE_DIR", "DISPLAY", "WAYLAND_DISPLAY", "SSL_CERT_FILE",
    "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
)  # fmt: skip
_HELPER_PREFIXES = ("AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_", "IDENTITY_")


IDENTITY = "<token>"
"""The user of an identity token, as helpers answer it: its secret is exchanged, and is no password."""


def login_for(host: str, environ: Mapping[str, str], repository: str = "") -> Login | None:
    """
    The login that the user's own configuration has for a registry's `host[:port]`; None where it has none. That of an
    identity token has the user `IDENTITY`.

    Args:
        environ: REGISTRY_AUTH_FILE, DOCKER_CONFIG, HOME and XDG_RUNTIME_DIR say where the configuration lies, PATH
            where a helper does.
        repository: what is asked for there; a login of podman may be for a part of a registry alone.

    Raises:
        MalformedError: the configuration is not what `docker login` writes. UnreachableError: its helper fails.
    """
    found = (_login_in(place, host, repository if ours else "", environ) for place, ours in _places(environ))
    return next((login for login in found if login is not None), None)


def _places(environ: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    """
    The files that may have a login, and whether each is podman's, whose keys may name repositories
    (https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md).
    """
    home, runtime = environ.get("HOME", ""), environ.get("XDG_RUNTIME_DIR", "")
    settings = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    docker = environ.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
    named = (
        (environ.get("REGISTRY_AUTH_FILE", ""), True),
        (f"{docker}/config.json" if docker else "", False),
        (f"{runtime}/containers/auth.json" if runtime else "", True),
        (f"{settings}/containers/auth.json" if settings else "", True),
    )
    return ((Path(name), of_podman) for name, of_podman in named if name and Path(name).is_file())


def _login_in(place: Path, host: str, repository: str, environ: Mapping[str, str]) -> Login | None:
    config = _config(place)
    names: tuple[str, ...] = (
        _HUB_NAMES if host == DOCKER_HUB else (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
    )
    own = "docker.io" if host == DOCKER_HUB else host
    parts = repository.split("/") if repository else []
    names = (*("/".join([own, *parts[:count]]) for count in range(len(parts), 0, -1)), *names)
    helpers = config.get("credHelpers", {})
    helper = next((helpers[name] for name in names if name in helpers), None)
    for name in names:
        entry = config.get("auths", {}).get(name)
        if isinstance(entry, dict) and (entry.get("identitytoken") or entry.get("auth")) and helper is None:
            return _of_entry(entry, host, place)
    helper = helper or config.get("credsStore")
    server = _HUB_NAMES[0] if host == DOCKER_HUB else host
    return _of_helper(str(helper), server, host, place, environ) if helper else None


def _config(place: Path) -> dict[str, Any]:
    try:
        config = json.loads(read_bytes(place, limit=1 << 20, what="the login file"))
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"`{place}` is not JSON, so no login can be read from it") from error
    parts = config if isinstance(config, dict) else {"auths": None}
    if any(not isinstance(parts.get(name, {}), dict) for name in ("auths", "credHelpers")):
        raise MalformedError(f"`{place}` is not what `docker login` writes: expected objects")
    return dict(parts)


def _of_entry(entry: Mapping[str, Any], host: str, place: Path) -> Login:
    if entry.get("identitytoken"):
        return Login(IDENTITY, str(entry["identitytoken"]))
    try:
        text = base64.b64decode(str(entry["auth"]), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise MalformedError(f"the login for {host} in `{place}` is damaged", hint=f"`docker login {host}`") from error
    user, colon, secret = text.partition(":")
    if not colon:
        raise MalformedError(f"the login for {host} in `{place}` has no password", hint=f"`docker login {host}`")
    return Login(user, secret.rstrip("\0"))


def _of_helper(helper: str, server: str, host: str, place: Path, environ: Mapping[str, str]) -> Login | None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", helper):
        raise MalformedError(f"`{place}` names a credential helper that cannot be one")
    program = shutil.which(f"docker-credential-{helper}", path=environ.get("PATH", ""))
    if program is None:
        raise UnreachableError(
            f"`{place}` keeps logins in the helper `docker-credential-{helper}`, which is not on PATH",
            hint="install it, or log in without a helper",
        )
    env = {name: value for name, value in environ.items() if name in _HELPER_NAMES or name.startswith(_HELPER_PREFIXES)}
    done = run(Command((program, "get"), stdin=server.encode(), env=env, timeout_s=60))
    if done.status != 0:
        # "credentials not found in native keychain": the one answer that is none.
        if b"not found" in done.stdout.lower():
            return None
        raise UnreachableError(
            f"the credential helper `docker-credential-{helper}` ended with status {done.status} for {host}",
            hint=f"try it: `echo {server} | docker-credential-{helper} get`",
        )
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedError(f"`docker-credential-{helper}` does not answer as a credential helper does") from error
    return Login(user, secret) if user or secret else None
