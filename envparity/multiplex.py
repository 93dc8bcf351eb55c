"""
Many small answers at once, as streams of one connection (HTTP/2, RFC 9113): libcurl does that, of the extra `fast`.

It is a first try, and no more: it sends no credentials, follows no redirect, asks through no proxy and tries nothing
again. What is not plainly answered is left to `network`, which knows what to do then and what to say.
"""

from __future__ import annotations

__all__ = ["Answer", "Question", "answers", "can_ask"]

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_PLAIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._/-]*")
_CONNECTIONS = 16
"""Of a place that knows no HTTP/2; more were slowed down by the indexes that were tried."""

_LONGEST_WAIT_S = 0.05
"""libcurl may be waiting for something that `select` does not see."""

_SLOWEST_BYTES_S = 100


@dataclass(frozen=True)
class Question:
    """What is asked for, and the headers to send."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What was answered; `headers` has lower-case names, and `body` is unpacked."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class _Transfer:
    number: int
    limit: int
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    size_bytes: int = 0

    def header(self, line: bytes) -> None:
        name, colon, value = line.decode("iso-8859-1").partition(":")
        if colon:
            self.headers[name.strip().lower()] = value.strip()

    def write(self, data: bytes) -> int:
        self.pieces.append(data)
        self.size_bytes += len(data)
        return len(data) if self.size_bytes <= self.limit else 0  # any other number ends the transfer


def can_ask(urls: Iterable[str]) -> bool:
    """Whether all of these can be asked for here: libcurl is there, and nothing stands in between."""
    return _pycurl() is not None and not _has_proxy() and all(map(_PLAIN.fullmatch, urls))


def answers(
    questions: Sequence[Question], *, good: Collection[int], limit: int, timeout_s: float
) -> Iterator[tuple[int, Answer]]:
    """
    The answers as they arrive, each with the place of its question; nothing for one that has no good status.

    Args:
        limit: how many bytes a body may have, unpacked.
        timeout_s: for a connection, and for each time that hardly a byte comes.
    """
    pycurl = _pycurl()
    assert pycurl is not None, "whoever asks has asked `can_ask`"
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, _CONNECTIONS)
    open_ones: dict[Any, _Transfer] = {}
    try:
        for number, question in enumerate(questions):
            transfer = _Transfer(number, limit)
            handle = _opened(pycurl, question, transfer, timeout_s)
            open_ones[handle] = transfer
            multi.add_handle(handle)
        while open_ones:
            _, running = multi.perform()
            waiting = 1
            while waiting:
                waiting, done, failed = multi.info_read()
                for handle in done:
                    transfer = open_ones.pop(handle)
                    status = handle.getinfo(pycurl.RESPONSE_CODE)
                    multi.remove_handle(handle)
                    if status in good:
                        yield transfer.number, Answer(status, transfer.headers, b"".join(transfer.pieces))
                for handle, *_ in failed:
                    open_ones.pop(handle)
                    multi.remove_handle(handle)
            if running:
                wanted_ms = multi.timeout()
                multi.select(_LONGEST_WAIT_S if wanted_ms < 0 else min(_LONGEST_WAIT_S, wanted_ms / 1000))
    finally:
        for handle in open_ones:
            multi.remove_handle(handle)
        multi.close()


def _opened(pycurl: Any, question: Question, transfer: _Transfer, timeout_s: float) -> Any:
    handle = pycurl.Curl()
    for option, value in (
        (pycurl.URL, question.url),
        (pycurl.HTTPHEADER, [f"{name}: {text}" for name, text in question.headers.items()]),
        (pycurl.ACCEPT_ENCODING, "gzip"),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
        (pycurl.PIPEWAIT, 1),
        (pycurl.PROXY, ""),
        (pycurl.FOLLOWLOCATION, 0),
        (pycurl.BUFFERSIZE, 512 << 10),
        (pycurl.CONNECTTIMEOUT_MS, int(timeout_s * 1000)),
        (pycurl.LOW_SPEED_LIMIT, _SLOWEST_BYTES_S),
        (pycurl.LOW_SPEED_TIME, max(1, int(timeout_s))),
        (pycurl.NOSIGNAL, 1),
        (pycurl.CAINFO, _authorities()),
        (pycurl.HEADERFUNCTION, transfer.header),
        (pycurl.WRITEFUNCTION, transfer.write),
    ):
        handle.setopt(option, value)
    return handle


@functools.cache
def _pycurl() -> Any | None:
    try:
        import pycurl
    except ImportError:
        return None
    return pycurl


def _has_proxy() -> bool:
    from urllib.request import getproxies_environment

    return any(name != "no" for name in getproxies_environment())


@functools.cache
def _authorities() -> str:
    """The system's, else certifi's: whoever needs both is answered by `network`."""
    import ssl

    import certifi

    return ssl.get_default_verify_paths().cafile or certifi.where()
