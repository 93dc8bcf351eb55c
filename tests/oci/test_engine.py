"""What can be wrong with an engine: each fault has its own words, and none makes us wait for ever."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from envparity.errors import EnvparityError, MalformedError, TimeLimitError, UnreachableError, UsageError
from envparity.oci.access import Access
from envparity.oci.engine import connected
from envparity.oci.places import open_image, write_image
from tests.oci.made import built, file
from tests.serving import plain, serving
from tests.tools import by_nobody


def asked(host: str, patience_s: float = 5) -> EnvparityError:
    """The error that an engine's address leads to."""
    with pytest.raises(EnvparityError) as caught:
        open_image("docker:tickets:1", access=Access(environ={"DOCKER_HOST": host}, patience_s=patience_s))
    assert caught.value.hint
    return caught.value


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short path: that of a socket may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="e-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def listening(path: Path, answer: bytes = b"") -> Iterator[str]:
    """A socket that gives everybody one answer, or none and keeps them waiting."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                held.append(one)
                if answer:
                    one.recv(4096)
                    one.sendall(answer)
                    one.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"unix://{path}"
        server.shutdown(socket.SHUT_RDWR)
        for one in held:
            one.close()


def test_no_socket_and_no_listener_are_told_apart(place: Path) -> None:
    assert "does not exist" in str(asked(f"unix://{place}/none.sock"))
    (place / "file").touch()
    assert "is not a socket" in str(asked(f"unix://{place}/file"))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place / "left.sock"))
    assert "connection is refused" in str(asked(f"unix://{place}/left.sock"))


def test_a_socket_of_somebody_else_is_a_matter_of_rights(place: Path) -> None:
    place.chmod(0o755)
    with listening(place / "e.sock") as host:
        (place / "e.sock").chmod(0o600)

        def question(_: Path) -> None:
            with connected(Access(environ={"DOCKER_HOST": host})):
                pass

        assert "UnreachableError: this user may not use" in by_nobody(question)


def test_an_engine_that_hangs_has_a_time_limit(place: Path) -> None:
    with listening(place / "e.sock") as host:
        error = asked(host, patience_s=0.5)

    assert isinstance(error, TimeLimitError)
    assert "within 0.5 s" in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>It works</html>"), (404, b"<html>nothing</html>"), (200, b'"1.41"'), (200, b"{}")],
)
def test_a_web_server_is_no_engine(status: int, body: bytes) -> None:
    with serving({"/version": [plain(body, status)]}) as served:
        error = asked(served.url.replace("http://", "tcp://"))

    assert isinstance(error, UnreachableError)
    assert "no engine" in str(error)


def test_what_no_engine_can_be_asked_at_is_usage() -> None:
    """ "Is it running?" would send its user to look at an engine that nobody has asked."""
    error = asked("junk")

    assert isinstance(error, UsageError)
    assert "DOCKER_HOST is `junk`" in str(error)


def test_an_engine_that_is_too_old_is_called_so() -> None:
    with serving({"/version": [plain(b'{"ApiVersion": "1.12"}')]}) as served:
        assert "too old" in str(asked(served.url.replace("http://", "tcp://")))


@contextmanager
def dying(enough: Callable[[bytes], bool]) -> Iterator[str]:
    """An engine that is killed while it loads: when it has read enough, its connections are reset."""

    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            plain(b'{"ApiVersion": "1.41"}')(self)

        def do_POST(self) -> None:
            read = b""
            while not enough(read):
                read += self.rfile.read1(1 << 16)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def finish(self) -> None:
            pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "enough",
    [lambda read: len(read) > 100_000, lambda read: read.endswith(b"\r\n0\r\n\r\n")],
    ids=["in the middle", "before it answers"],
)
def test_an_engine_that_dies_while_it_loads_is_named_and_not_waited_for(
    enough: Callable[[bytes], bool], tmp_path: Path
) -> None:
    image = built(tmp_path / "made", (file("weights", os.urandom(3 << 20)),), codec="none")
    with dying(enough) as host, pytest.raises(UnreachableError, match=host.removeprefix("tcp://")) as caught:
        write_image("docker:tickets:1", image, access=Access(environ={"DOCKER_HOST": host}))

    assert caught.value.hint
    assert not [thread for thread in threading.enumerate() if thread.name == "docker-load"]


def test_an_engine_that_fails_is_quoted() -> None:
    failing = plain(b'{"message": "disk \\u001b[31m is broken"}', 500)
    with serving({"/version": [plain(b'{"ApiVersion": "1.41"}')], "/v1.41/images/tickets:1/json": [failing]}) as served:
        error = asked(served.url.replace("http://", "tcp://"))

    assert "refuses: disk" in str(error)
    assert "\x1b" not in str(error)


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"Architecture": "amd64", "Os": "linux", "RootFS": 7, "Id": "x"}'])
def test_an_answer_that_describes_no_image_is_malformed(answer: bytes) -> None:
    with serving(
        {"/version": [plain(b'{"ApiVersion": "1.41"}')], "/v1.41/images/tickets:1/json": [plain(answer)]}
    ) as served:
        assert isinstance(asked(served.url.replace("http://", "tcp://")), MalformedError)


def test_an_image_that_is_not_there_is_a_usage_error() -> None:
    gone = plain(b'{"message": "No such image"}', 404)
    with serving({"/version": [plain(b'{"ApiVersion": "1.41"}')], "/v1.41/images/tickets:1/json": [gone]}) as served:
        assert isinstance(asked(served.url.replace("http://", "tcp://")), UsageError)


def test_without_the_sdk_the_extra_is_named() -> None:
    """The SDK is an extra: most who read images have no engine."""
    program = (
        "import sys; sys.modules['docker'] = None\n"
        "from envparity.oci.access import Access\n"
        "from envparity.oci.engine import connected\n"
        "try:\n connected(Access(environ={'DOCKER_HOST': 'tcp://127.0.0.1:1'})).__enter__()\n"
        "except Exception as error:\n print(type(error).__name__, error, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("UsageError")
    assert "envparity[engine]" in done.stdout


@pytest.mark.parametrize(
    "host", ["tcp://ada:canary@127.0.0.1:1", "tcp://ada:canary@nowhere.invalid:2375", "foo://ada:canary@x"]
)
def test_a_password_in_the_engine_s_address_is_in_no_message(host: str) -> None:
    error = asked(host)
    assert "canary" not in f"{error} {error.hint} {error.details}"
