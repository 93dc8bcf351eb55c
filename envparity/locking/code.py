"""Which repository and commit a model was trained from, as an image of its lock may say it to strangers."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from envparity.values import Environment, LockedCode

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCHEMES = frozenset(["https", "http", "ssh", "git"])
# "An alternative scp-like syntax": https://git-scm.com/docs/git-clone#_git_urls
_SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9._-]+):(?P<path>[^\s:]+)")
_PAGES = frozenset(["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"])
"""Hosts that show a repository at the address that ssh fetches it from; registries link an image to such a page."""


def code(environment: Environment) -> LockedCode | None:
    """
    Where the code lies and at which commit, or `None` where the snapshot knows neither.

    An address is one that others reach: none of a folder of the training host, of a git helper, or with anything in it
    that was hidden.
    """
    recorded = environment.source_code
    if recorded is None:
        return None
    from envparity.lineage.repository import public_remote

    commit = recorded.commit if _COMMIT.fullmatch(recorded.commit) else ""
    url = _address(public_remote(recorded.remote))
    if not commit and not url:
        return None
    return LockedCode(url=url, commit=commit, dirty=recorded.dirty if commit else None)


def _address(remote: str) -> str:
    """The remote as a URL; that of a page on the hosts which have one, else as git takes it."""
    scp = _SCP.fullmatch(remote) if "://" not in remote else None
    if scp is not None:
        user = f"{scp['user']}@" if scp["user"] else ""
        remote = f"ssh://{user}{scp['host']}/{scp['path'].lstrip('/')}"
    try:
        parts = urlsplit(remote)
        host, scheme = (parts.hostname or "").lower(), parts.scheme
        plain = parts.port is None and not parts.query and not parts.fragment
    except ValueError:
        return ""
    if scheme not in _SCHEMES or not host or "***" in remote or "${" in remote or not remote.isprintable():
        return ""
    if host in _PAGES and plain:
        return f"https://{host}{parts.path.rstrip('/').removesuffix('.git')}"
    return remote
