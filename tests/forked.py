"""
The command line in a process that is forked from one that has imported all of it: what it prints, writes and ends with
is that of a process that was started, and a third of a second is saved each time.

A server is started once by each process of the tests, on a socket of its own, and ends with it.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_", "MALLOC_", "COVERAGE", "GCONV_", "LOCPATH")
"""How variables begin that count when a process starts: with another value of one of them it has to be started."""
MOST_STDIN = 1 << 15
"""What a pipe takes before anybody reads it."""


def run(
    arguments: Sequence[str], *, cwd: Path | None, stdin: str, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str] | None:
    """What the command made of it; nothing where only a process that is started from the beginning will do."""
    if len(stdin) > MOST_STDIN or _counting(environ) != _counting(os.environ) or "COVERAGE_RUN" in environ:
        return None
    umask = os.umask(0o077)
    os.umask(umask)
    server = _server(os.getpid(), os.geteuid(), umask)
    if server.counting != _counting(environ):
        return None
    request = {"argv": [*arguments], "cwd": str(cwd or Path.cwd()), "environ": dict(environ)}
    input_read, input_write = os.pipe()
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    os.write(input_write, stdin.encode(errors="surrogateescape"))
    os.close(input_write)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server.address)
        socket.send_fds(connection, [b"x"], [input_read, out_write, err_write])
        connection.sendall(json.dumps(request).encode() + b"\n")
        for handle in (input_read, out_write, err_write):
            os.close(handle)
        out, err = _drained(out_read, err_read)
        status = connection.recv(100)
    if not status:
        raise RuntimeError(f"the process of {arguments} was lost")
    return subprocess.CompletedProcess(arguments, int(status), out, err)


def _counting(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(AT_START)}


def _drained(*handles: int) -> list[str]:
    read: dict[int, bytes] = dict.fromkeys(handles, b"")
    with selectors.DefaultSelector() as selector:
        for handle in handles:
            selector.register(handle, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 16)
                read[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n") for data in read.values()]


@dataclass(frozen=True)
class _Server:
    address: bytes
    counting: dict[str, str]


_starting = threading.Lock()


def _server(pid: int, user: int, umask: int) -> _Server:
    with _starting:
        return _started(pid, user, umask)


@functools.cache
def _started(pid: int, user: int, umask: int) -> _Server:
    """The server of this process. A child that was forked has one of its own, another user, and another umask."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(
            ""
        )  # the kernel names it, as nothing else is named (https://man7.org/linux/man-pages/man7/unix.7.html)
        address = listener.getsockname()
        listener.listen(64)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(listener.fileno())],
            stdin=subprocess.PIPE,  # it ends with us, who hold the other end
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            umask=umask,
            cwd=Path(__file__).resolve().parent.parent,
        )
    atexit.register(process.communicate)
    return _Server(address, _counting(os.environ))


def _serve(listener: socket.socket) -> None:
    import envparity

    for module in pkgutil.walk_packages(envparity.__path__, "envparity."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # an extra that is not installed
                import_module(module.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    """Run what is asked for in a child, and say how it ended."""
    _, handles, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as stream:
        request = json.loads(stream.readline())
    child = os.fork()
    if child == 0:
        connection.close()
        for number, handle in enumerate(handles):
            os.dup2(handle, number)
            os.close(handle)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environ"])
        sys.argv = ["envparity", *request["argv"]]
        sys.path[0] = request["cwd"]
        import_module("envparity.cli").main()
    for handle in handles:
        os.close(handle)
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
