"""
An engine, a registry and a namespace, for the tests that need a real one.

The first two are taken from ENVPARITY_TEST_DOCKER_HOST and ENVPARITY_TEST_REGISTRY where these are set, else started
here, on a socket of their own and on the loopback, and stopped at the end by their ids. Where that cannot be, the tests
are skipped with the reason, or fail if ENVPARITY_REQUIRE_ENGINE=1.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.pipeline import little, pipeline, tiny
from tests.ports import port_of_its_own
from tests.tools import needs_tool, not_here

__all__ = ["little", "pipeline", "tiny"]  # one of each a session, however many modules ask for it


@contextmanager
def folder_of_its_own() -> Iterator[Path]:
    """A short path (that of a socket may have 107 bytes), removed with whatever an engine left mounted in it."""
    folder = Path(tempfile.mkdtemp(prefix="envparity-", dir="/tmp"))
    try:
        yield folder
    finally:
        mounts = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for place in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def service(argv: list[str], log: Path, ready: Callable[[], bool], limit_s: float) -> Iterator[None]:
    """A process that serves while the tests run; it is asked to end, then killed, with the group that it leads."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        for _ in range(int(limit_s * 5)):
            if ready():
                break
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            not_here(f"`{argv[0]}` ended at once: {log.read_text(errors='replace').strip().splitlines()[-1:]}")
        else:
            not_here(f"`{argv[0]}` did not answer within {limit_s:g} s")
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):  # where the whole group has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def bridge_of_its_own() -> Iterator[str]:
    """
    The name of a network for an engine: two engines that share `docker0` give one address to two containers.

    Its addresses are of those that are kept for tests of networks, and lead nowhere else
    (https://www.rfc-editor.org/rfc/rfc2544).
    """
    ip, name = needs_tool("ip"), f"envp{secrets.token_hex(4)}"
    subprocess.run([ip, "link", "add", name, "type", "bridge"], check=True)
    try:
        address = f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}.1/24"
        subprocess.run([ip, "address", "add", address, "dev", name], check=True)
        subprocess.run([ip, "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run([ip, "link", "delete", name], check=False)
        _forget_in_the_firewall(name)


def _forget_in_the_firewall(bridge: str) -> None:
    """Take away the rules that name a bridge: an engine that ends leaves its own."""
    iptables = needs_tool("iptables")
    for table in ("nat", "filter"):
        told = subprocess.run([iptables, "-t", table, "-S"], capture_output=True, text=True, check=False).stdout
        for words in map(str.split, told.splitlines()):
            if bridge in words:
                subprocess.run([iptables, "-t", table, "-D", *words[1:]], check=False)


def _engine_answers(client: str, host: str) -> bool:
    asked = subprocess.run([client, "-H", host, "version"], capture_output=True, check=False)
    return asked.returncode == 0


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The address of a Docker engine that is ours, as DOCKER_HOST takes it."""
    client = needs_tool("docker")
    given = os.environ.get("ENVPARITY_TEST_DOCKER_HOST")
    if given:
        if not _engine_answers(client, given):
            not_here(f"no engine answers at ENVPARITY_TEST_DOCKER_HOST={given}")
        yield given
        return
    daemon = needs_tool("dockerd")
    if os.geteuid() != 0:
        not_here("starting an engine takes root")
    with folder_of_its_own() as folder, bridge_of_its_own() as bridge:
        host = f"unix://{folder}/engine.sock"
        argv = [daemon, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        argv += ["--pidfile", f"{folder}/pid", "--bridge", bridge, "-H", host]
        with service(argv, folder / "log", lambda: _engine_answers(client, host), 120):
            yield host


def _registry_answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """The `host:port` of an empty registry on the loopback, without password and TLS."""
    given = os.environ.get("ENVPARITY_TEST_REGISTRY")
    if given:
        if not _registry_answers(given):
            not_here(f"no registry answers at ENVPARITY_TEST_REGISTRY={given}")
        yield given
        return
    program = needs_tool("docker-registry")
    with folder_of_its_own() as folder, port_of_its_own() as port:
        address = f"127.0.0.1:{port}"
        # Debian's own configuration wants a password and a fixed port.
        configuration = folder / "registry.yml"
        configuration.write_text(
            "version: 0.1\n"
            "log: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
            f'http: {{addr: "{address}"}}\n'
        )
        argv = [program, "serve", str(configuration)]
        with service(argv, folder / "log", lambda: _registry_answers(address), 60):
            yield address


@pytest.fixture(scope="session")
def namespace() -> tuple[str, ...]:
    """The words before `ROOTFS PROGRAM ...` that start a program in another root, by a user namespace or as root."""
    chroot = needs_tool("chroot")
    unshare = shutil.which("unshare")
    if unshare and subprocess.run([unshare, "-Ur", "true"], capture_output=True, check=False).returncode == 0:
        return (unshare, "-Ur", chroot)
    if os.geteuid() == 0:
        return (chroot,)
    return not_here("this kernel lets nobody but root make a user namespace")
