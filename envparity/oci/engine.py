"""
The local engine, through Docker's SDK: the images that it has, and a command in one of its containers.

Nothing is copied into or out of a container (CVE-2026-42306, CVE-2026-41568: `docker cp` races with what runs there).
"""

from __future__ import annotations

__all__ = ["Container", "Engine", "EngineImage", "connected", "known_image", "load_image", "open_engine"]

import os
import re
import socket
import stat
import struct
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, BinaryIO, cast

from envparity.codec import canonical
from envparity.collectors.urls import public_url
from envparity.errors import (
    EnvparityError,
    IntegrityError,
    MalformedError,
    TimeLimitError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.files import translated
from envparity.network import without_logins
from envparity.oci.access import Access
from envparity.oci.archive import DOCKER_LAYER, open_archive, stream_archive
from envparity.oci.entries import shown
from envparity.oci.image import BuiltImage, Image, Layer, Place
from envparity.oci.layout import require_platform
from envparity.oci.spec import DOCKER_CONFIG, Descriptor, Manifest, digest_of, parse_config
from envparity.oci.table import Memory
from envparity.oci.unpack import open_layer
from envparity.process import Completed

DEFAULT_HOST = "unix:///var/run/docker.sock"
OLDEST = "1.24"
"""Of the engine's interface: what Docker 1.12 of 2016 speaks, and the SDK still does."""

_MOST_ANSWER_BYTES = 512 << 20
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True)
class EngineImage:
    """What the engine says of an image: its id, the digests of its unpacked layers, and its configuration."""

    id: str
    size_bytes: int
    diff_ids: tuple[str, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Container:
    """What the engine says of a container. `env` are `NAME=VALUE` lines, `argv` is what it was started with."""

    id: str
    name: str
    running: bool
    status: str
    image: str
    image_name: str
    env: tuple[str, ...]
    argv: tuple[str, ...]


@contextmanager
def connected(access: Access) -> Iterator[Engine]:
    """
    The engine that DOCKER_HOST names, else the usual socket.

    Raises:
        UsageError: the SDK is not installed. UnreachableError, TimeLimitError: there is no engine, or it does not
        answer as one; each cause has its own message.
    """
    host = access.environ.get("DOCKER_HOST") or DEFAULT_HOST
    _require_socket(host, access.patience_s)
    try:
        import docker
        from docker.utils import kwargs_from_env
    except ImportError as error:
        raise UsageError(
            "the engine is reached through Docker's SDK, which is not installed", hint="pip install 'envparity[engine]'"
        ) from error
    address, host = host, public_url(host)  # which may hold a password, and stands in every message
    with _translated(host, access.patience_s):
        settings = kwargs_from_env(environment={**access.environ, "DOCKER_HOST": address})
        # The SDK would ask for the version too, and leave the connection open where it does not like the answer.
        first = docker.APIClient(version=OLDEST, timeout=access.patience_s, **settings)
        try:
            version = _version(first.version(api_version=False), host)
        finally:
            first.close()
        api = docker.APIClient(version=version, timeout=access.patience_s, **settings)
    try:
        yield Engine(api, host, access.patience_s)
    finally:
        api.close()


def _version(answer: Any, host: str) -> str:
    """The version of the engine's interface, if what answers is an engine, and not too old."""
    version = answer.get("ApiVersion") if isinstance(answer, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", version):
        raise _no_engine(host, "it does not say which version it speaks")
    if _numbers(version) < _numbers(OLDEST):
        raise UnreachableError(
            f"the engine at {host} is too old: it speaks {version} of its interface", hint=f"{OLDEST} is the oldest"
        )
    return version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _no_engine(host: str, why: str) -> UnreachableError:
    return UnreachableError(
        f"what answers at {host} is no engine: {why}",
        hint="name the engine's own address in DOCKER_HOST, not that of a web server",
    )


def _require_socket(host: str, timeout_s: float) -> None:
    """Say what is wrong with a socket before the SDK wraps it in three errors of others."""
    if not host.startswith("unix://"):
        return
    path = host.removeprefix("unix://")
    hint = "start the engine, or name its socket in DOCKER_HOST"
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except PermissionError as error:
        raise UnreachableError(f"the engine's socket `{path}` may not be looked at by this user") from error
    except OSError as error:
        raise UnreachableError(f"there is no engine here: `{path}` does not exist", hint=hint) from error
    if not stat.S_ISSOCK(mode):
        raise UnreachableError(f"there is no engine here: `{path}` is not a socket", hint=hint)
    if not os.access(path, os.R_OK | os.W_OK):
        raise UnreachableError(
            f"this user may not use the engine's socket `{path}`",
            hint="be a member of its group (`docker`), or name another socket in DOCKER_HOST",
        )
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(timeout_s)
            trial.connect(path)
    except OSError as error:
        raise _as_ours(error, host, timeout_s) from error


@contextmanager
def _translated(host: str, timeout_s: float, what: str = "") -> Iterator[None]:
    """What the SDK, requests and urllib3 throw, as errors of ours. `what` is what was asked for."""
    import docker.errors

    try:
        yield
    except docker.errors.NotFound as error:
        if not what:
            raise _no_engine(host, "it does not know the API") from error
        raise UsageError(f"the engine has no {what}", hint="see `docker images` and `docker ps -a`") from error
    except docker.errors.APIError as error:
        said = shown(without_logins(str(error.explanation or error)))
        raise UnreachableError(f"the engine at {host} refuses: {said}", hint="look into the engine's log") from error
    except (docker.errors.DockerException, OSError, ValueError) as error:  # those of requests are OSErrors
        raise _as_ours(error, host, timeout_s) from error


def _as_ours(error: Exception, host: str, timeout_s: float) -> EnvparityError:
    """The SDK keeps the cause in the text, or in one of the errors around it."""
    said = without_logins(str(error))
    if isinstance(error, TimeoutError) or "timed out" in said.lower():
        return TimeLimitError(
            f"the engine at {host} did not answer within {timeout_s:g} s", hint="raise the limit with --timeout"
        )
    if "refused" in said.lower():
        return UnreachableError(
            f"nobody answers at {host}: the connection is refused", hint="start the engine, or set DOCKER_HOST"
        )
    if "invalid bind address" in said.lower():  # the SDK's word for what it cannot take apart
        return UsageError(
            f"DOCKER_HOST is `{shown(host)}`, which is no address of an engine", hint=f"such as {DEFAULT_HOST}"
        )
    if isinstance(error, ValueError):
        return _no_engine(host, "it does not speak JSON")
    return UnreachableError(f"cannot reach the engine at {host}: {shown(said)}", hint="is it running? `docker version`")


class Engine:
    """A connection to an engine; `connected` makes and closes it."""

    def __init__(self, api: Any, host: str, timeout_s: float) -> None:
        self._api = api
        self._host = host
        self._timeout_s = timeout_s

    def image(self, name: str) -> EngineImage:
        """What the engine says of an image. Raises UsageError where it has none of that name."""
        with _translated(self._host, self._timeout_s, f"image `{shown(name)}`"):
            found = self._api.inspect_image(name)
        try:
            config = {
                "architecture": found["Architecture"],
                "os": found["Os"],
                "variant": found.get("Variant") or None,
                "config": found.get("Config"),
                "rootfs": {"type": "layers", "diff_ids": found["RootFS"].get("Layers") or []},
            }
            layers = tuple(str(digest) for digest in config["rootfs"]["diff_ids"])
            return EngineImage(str(found["Id"]), int(found.get("Size") or 0), layers, config)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._nonsense() from error

    def container(self, name: str) -> Container:
        """What the engine says of a container. Raises UsageError where it has none of that name."""
        with _translated(self._host, self._timeout_s, f"container `{shown(name)}`"):
            found = self._api.inspect_container(name)
        try:
            config = found["Config"]
            argv = [found.get("Path") or "", *(found.get("Args") or [])]
            return Container(
                str(found["Id"]),
                str(found["Name"]).lstrip("/"),
                bool(found["State"]["Running"]) and not found["State"].get("Paused"),
                str(found["State"]["Status"]),
                str(found["Image"]),
                str(config.get("Image") or ""),
                tuple(str(line) for line in config.get("Env") or ()),
                tuple(str(word) for word in argv),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise self._nonsense() from error

    def _nonsense(self) -> MalformedError:
        return MalformedError(f"what answers at {self._host} does not describe things as an engine does")

    def save(self, name: str, limit_bytes: int) -> int:
        """
        An image as `docker save` writes it, in an open file that has no name and is gone when it is closed.

        Raises:
            UnreachableError: the engine stops, or sends more than the image can hold. DiskFullError: so it is.
        """
        try:
            with tempfile.TemporaryFile() as sink:
                for piece in self._pieces(name):
                    sink.write(piece)
                    if sink.tell() > limit_bytes:
                        raise UnreachableError(f"the engine sends more than the {limit_bytes:,} bytes that can be due")
                sink.flush()
                return os.dup(sink.fileno())
        except OSError as error:
            raise translated(error, "keep the image of the engine in a temporary file") from error

    def _pieces(self, name: str) -> Iterator[bytes]:
        what = f"image `{shown(name)}`"
        with _translated(self._host, self._timeout_s, what):
            pieces = iter(self._api.get_image(name, chunk_size=1 << 20))
        while True:
            with _translated(self._host, self._timeout_s, what):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def load(self, image: BuiltImage, name: str) -> None:
        """
        Give the engine an image under a name, as `docker load` does; it is streamed, and lies nowhere else.

        Raises:
            UnreachableError: the engine refuses it, or went away. IntegrityError: a layer is not what was promised.
        """
        reading, writing = os.pipe()
        failed: list[BaseException] = []

        def feed() -> None:
            try:
                with os.fdopen(writing, "wb") as sink:
                    stream_archive(sink, image, name)
            except BrokenPipeError:
                pass  # the engine stopped reading, and says why
            except BaseException as error:  # noqa: BLE001  # it is raised again where the engine's answer is read
                failed.append(error)

        feeder = threading.Thread(target=feed, name="docker-load", daemon=True)
        try:
            with os.fdopen(reading, "rb") as source:
                feeder.start()
                with _translated(self._host, self._timeout_s, f"image `{shown(name)}`"):
                    said = [line for line in self._api.load_image(source) if isinstance(line, dict)]
        finally:
            feeder.join(self._timeout_s)
        if failed:
            raise failed[0]
        errors = [str(line["error"]) for line in said if line.get("error")]
        if errors:
            raise UnreachableError(
                f"the engine at {self._host} does not take the image: {shown(errors[0][:300])}",
                hint="is there room on its disk? `docker system df`; `docker-archive:FILE` keeps the image in a file",
            )

    def run(self, container: Container, argv: tuple[str, ...], stdin: bytes) -> Completed:
        """
        Start a command in a running container, feed it, and wait for its end.

        Raises:
            UnreachableError: the container or the engine went away meanwhile. TimeLimitError: it took too long.
        """
        what = f"container `{shown(container.name)}`"
        until = time.monotonic() + self._timeout_s
        try:
            with _translated(self._host, self._timeout_s, what):
                begun = self._api.exec_create(container.id, list(argv), stdin=True, stdout=True, stderr=True)["Id"]
                stream = self._api.exec_start(begun, socket=True)
                wire: socket.socket = getattr(stream, "_sock", stream)
                try:
                    answer = _conversation(wire, stdin, until)
                finally:
                    wire.close()
                    stream.close()
                status = self._api.exec_inspect(begun)["ExitCode"]
        except UsageError as error:
            raise UnreachableError(f"{what} was removed while it was read", hint="read it while it runs") from error
        # An engine that stopped before its command has no status for it.
        return Completed(255 if status is None else int(status), *answer)


def _conversation(wire: socket.socket, stdin: bytes, until: float) -> tuple[bytes, bytes]:
    """
    Standard output and error of a command, as the engine mixes them: "a 8-byte header: stream, three zeros, size"
    (https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach).
    """
    wire.settimeout(max(0.1, until - time.monotonic()))
    wire.sendall(stdin)
    wire.shutdown(socket.SHUT_WR)
    parts = {_STDOUT: bytearray(), _STDERR: bytearray()}
    total = 0

    def exactly(size: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < size:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the command took too long")
            wire.settimeout(left)
            piece = wire.recv(min(size - len(pieces), 1 << 20))
            if not piece:
                break
            pieces += piece
        return bytes(pieces)

    while len(header := exactly(8)) == 8:
        number, size = struct.unpack(">B3xI", header)
        total += size
        if total > _MOST_ANSWER_BYTES:
            raise OSError(f"the command prints more than {_MOST_ANSWER_BYTES:,} bytes")
        parts.setdefault(number, bytearray()).extend(exactly(size))
    return bytes(parts[_STDOUT]), bytes(parts[_STDERR])


def open_engine(name: str, reference: str, platform: str, access: Access) -> Image:
    """
    An image of the engine, saved into a temporary file that has no name.

    Raises:
        UsageError: the engine has no such image. UnreachableError, TimeLimitError: there is no engine.
    """
    with connected(access) as engine:
        info = engine.image(name)
        image = _saved(engine, info, reference)
    if platform:
        require_platform(image, platform)
    return image


def load_image(name: str, image: BuiltImage, access: Access) -> str:
    """
    Write an image to the local engine, under `NAME:TAG`. Returns the digest of its manifest.

    Raises:
        UnreachableError, TimeLimitError: there is no engine, or it does not take the image.
        IntegrityError: what it holds under that name afterwards is another image.
    """
    with connected(access) as engine:
        engine.load(image, name)
        found = engine.image(name).id
    # The classic store names an image by its config, that of containerd by its manifest.
    if found not in {image.config_digest, image.digest}:
        raise IntegrityError(
            f"the engine has {shown(found)} as `{shown(name)}`, and {image.config_digest} was loaded",
            hint="something else names images there at the same time; build again",
        )
    return image.digest


def _saved(engine: Engine, info: EngineImage, reference: str) -> Image:
    # The tar has headers and documents beside the layers; engines count sizes in different ways.
    place = _Saved(engine.save(info.id, 2 * info.size_bytes + (1 << 30)))
    image = open_archive(f"/proc/self/fd/{place.handle}", reference=reference)
    place.archive = image.place
    return replace(image, place=place)


class _Saved:
    """The blobs of a saved image; it keeps the file open that they lie in."""

    archive: Place

    def __init__(self, handle: int) -> None:
        self.handle = handle
        weakref.finalize(self, os.close, handle)

    def open_blob(self, digest: str) -> BinaryIO:
        """The stored bytes, not checked."""
        return self.archive.open_blob(digest)


def known_image(name: str, reference: str, access: Access, memory: Memory) -> Image:
    """
    An image of the engine, named by its id. It is saved only where `memory` does not know all of its layers.

    Raises:
        As `open_engine` does.
    """
    with connected(access) as engine:
        info = engine.image(name)
        what = f"the config of `{shown(reference)}`"
        config_bytes = canonical(info.config)
        config = parse_config(config_bytes, what=what, strict=False)
        sizes = []
        for number, diff_id in enumerate(config.rootfs.diff_ids, start=1):
            found = memory.recall(Layer(number, len(info.diff_ids), _plain(diff_id), diff_id))
            if found is None:
                return replace(_saved(engine, info, reference), digest=info.id)
            sizes.append(found[0].size_bytes)
    layers = tuple(_plain(*pair) for pair in zip(config.rootfs.diff_ids, sizes, strict=True))
    described = Descriptor(media_type=DOCKER_CONFIG, digest=digest_of(config_bytes), size_bytes=len(config_bytes))
    manifest = Manifest(schema_version=2, config=described, layers=layers)
    return Image(reference, info.id, manifest, config, b"", config_bytes, _Known(info.id, reference, access))


def _plain(diff_id: str, size_bytes: int = 0) -> Descriptor:
    """A layer as it is unpacked, whatever its blob is."""
    return Descriptor(media_type=DOCKER_LAYER, digest=diff_id, size_bytes=size_bytes)


class _Known:
    """
    The place of an image whose layers are all known already: it is saved when somebody asks for a file that was not
    kept, and its layers come unpacked, by their diffID.
    """

    far = True

    def __init__(self, name: str, reference: str, access: Access) -> None:
        self._name = name
        self._reference = reference
        self._access = access

    @cached_property
    def _image(self) -> Image:
        return open_engine(self._name, self._reference, "", self._access)

    def open_blob(self, digest: str) -> BinaryIO:
        """The tar of a layer. Raises IntegrityError where the engine has it no longer."""
        for layer in self._image.layers():
            if layer.diff_id == digest:
                return cast(BinaryIO, open_layer(self._image.place, layer.descriptor, layer.diff_id))
        raise UnsupportedError(f"the engine's `{shown(self._name)}` is another image than it was", hint="read it again")
