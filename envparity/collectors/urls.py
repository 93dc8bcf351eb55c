"""One rule for addresses that are recorded: whatever may be a secret in them is gone."""

from __future__ import annotations

import re

_HIDDEN = "***"
_HARMLESS_QUERY = ("subdirectory", "egg", "ref", "branch", "tag", "rev", "platform", "sha256", "md5", "hash")


def public_url(url: str) -> str:
    """
    The address without its credentials: user information, query values and conda's `/t/TOKEN/` are replaced.

    `${VAR}` stays as it is written, and so does a user name alone before an `ssh` host (`git@`). Query values are kept
    only under names that are known to be harmless: on any doubt it is a secret. A text that is no address is returned.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    cut = min((rest.find(mark) for mark in "/?#,;" if mark in rest), default=len(rest))
    authority, tail = rest[:cut], rest[cut:]
    user, at, host = authority.rpartition("@")
    keeps_user = at and (_is_variables(user) or ("ssh" in scheme and ":" not in user))
    if at and not keeps_user:
        authority = host
    port = authority.rpartition("]")[2].partition(":")[2]
    if tail[:1] in (",", ";") or (port and not port.isdigit() and not keeps_user):
        return scheme + mark + _HIDDEN  # a password with a slash or a comma in it, or a list of addresses
    if "://" in rest:
        return scheme + mark + authority + "/" + _HIDDEN
    tail, hash_mark, fragment = tail.partition("#")
    path, query_mark, query = tail.partition("?")
    parts = path.split("/")
    for position in range(1, len(parts)):
        if parts[position - 1] == "t" and parts[position] and not _is_variables(parts[position]):
            parts[position] = parts[position] if _is_sorted_by_letter(parts, position) else _HIDDEN
    query = "&".join(map(_public_pair, query.split("&"))) if query else ""
    fragment = "&".join(map(_public_pair, fragment.split("&"))) if "=" in fragment else fragment
    return scheme + mark + authority + "/".join(parts) + query_mark + query + hash_mark + fragment


def _is_sorted_by_letter(parts: list[str], position: int) -> bool:
    """Whether `t` is the first letter of what is below it: `pool/main/t/tar/tar_1.34.deb`."""
    name, below = parts[position], parts[position + 1 :]
    in_pool = parts[position - 3 : position - 2] == ["pool"] and name.startswith("t") and parts[-1].endswith(".deb")
    return len(below) == 1 and (in_pool or re.match(f"{re.escape(name)}[-_]", below[0]) is not None)


def _is_variables(text: str) -> bool:
    return all(part.startswith("${") and part.endswith("}") for part in text.split(":"))


def _public_pair(pair: str) -> str:
    key, equals, value = pair.partition("=")
    if not equals:
        return pair if len(pair) < 16 else _HIDDEN
    return pair if key.lower() in _HARMLESS_QUERY or _is_variables(value) else key + equals + _HIDDEN
