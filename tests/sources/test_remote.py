"""Another machine is read by the same probe as this one, over a connection that takes nothing on trust."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from envparity import codec
from envparity.errors import EnvparityError, MalformedError, TimeLimitError, UnreachableError, UsageError
from envparity.sources import Options, read
from envparity.values import GapKind
from tests.ports import port_of_its_own
from tests.sources.test_live import script
from tests.tools import needs_tool, not_here

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Far:
    """An sshd on the loopback, and what a user needs to log in there: `HOST` is how its configuration calls it."""

    folder: Path
    options: Options
    daemon: subprocess.Popen[bytes]

    def end(self) -> None:
        """Nobody listens there any more."""
        self.daemon.terminate()
        self.daemon.wait(30)

    def forget(self) -> None:
        """As on a machine that has never been there."""
        (self.folder / "known_hosts").write_text("")


def _key(path: Path) -> str:
    subprocess.run([needs_tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


@contextmanager
def far_away(folder: Path, forced: str = "", timeout_s: float = 30) -> Iterator[Far]:
    """
    A real sshd that lets this very user in by key. `forced` is a shell line that runs in the place of every command.

    The `ssh` on PATH is the system's, with a configuration of its own: it never reads that of who runs the tests.
    """
    daemon, client = needs_tool("sshd"), needs_tool("ssh")
    if os.geteuid() != 0:
        not_here("an sshd that lets somebody in takes root")
    # Where a daemon of root's drops its rights, usually made at boot. It stays: another test's daemon may need it.
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with port_of_its_own() as port:
        yield from _served(folder, port, daemon, client, forced, timeout_s)


def _served(folder: Path, port: int, daemon: str, client: str, forced: str, timeout_s: float) -> Iterator[Far]:
    host_key = _key(folder / "host")
    (folder / "authorized").write_text(_key(folder / "user"))
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nUsePAM no\n"
        f"PidFile none\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        + (f"ForceCommand {forced}\n" if forced else "")
    )
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "config").write_text(
        f"Host far\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/user\n IdentitiesOnly yes\n"
        # What the user's own configuration allows must not loosen what we ask for.
        f" StrictHostKeyChecking no\n UserKnownHostsFile {folder}/known_hosts\n GlobalKnownHostsFile /dev/null\n"
    )
    tools = folder / "tools"
    tools.mkdir()
    script(tools / "ssh", f'exec {client} -F {folder}/config "$@"\n')
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([daemon, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        for _ in range(1000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                not_here(f"sshd ended at once: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.05)
        yield Far(
            folder, Options(environ={"PATH": f"{tools}:{SYSTEM_PATH}"}, base_dir=folder, timeout_s=timeout_s), process
        )
    finally:
        process.terminate()
        process.wait(30)


def _of_here(options: Options, *through: str) -> str:
    """What the `python3` that is found over there has, read without a connection: both are this machine."""
    told = subprocess.run(
        [*through, "command -v python3"], env=dict(options.environ), capture_output=True, text=True, check=True
    )
    (program,) = (line for line in told.stdout.splitlines() if line.startswith("/"))
    return repr(read(f"python:{program}", options=options).distributions)


def test_a_host_is_read_as_if_it_were_here(tmp_path: Path) -> None:
    with far_away(tmp_path) as far:
        environment = read("ssh:far", options=far.options)

        assert repr(environment.distributions) == _of_here(far.options, "ssh", "far")
    assert (environment.origin.kind, environment.origin.reference) == ("live", "ssh:far")
    assert environment.host is not None
    assert environment.cpu is not None
    assert environment.settings is None
    assert {gap.kind for gap in environment.gaps if gap.section == "settings"} == {GapKind.NOT_RECORDED}
    assert "not atomically" in " ".join(gap.reason for gap in environment.gaps)


def test_what_a_login_prints_before_and_after_is_passed_over(tmp_path: Path) -> None:
    noise = "echo Welcome to far; echo motd >&2; eval $SSH_ORIGINAL_COMMAND; echo Goodbye"
    with far_away(tmp_path, noise) as far:
        assert repr(read("ssh:far", options=far.options).distributions) == _of_here(far.options, "ssh", "far")


def test_a_key_that_is_not_known_is_not_taken_on_trust(tmp_path: Path) -> None:
    """With `StrictHostKeyChecking no` in the user's own file too: whoever answers would be believed."""
    with far_away(tmp_path) as far:
        far.forget()
        with pytest.raises(UnreachableError, match="is not known here, and is not taken on trust") as caught:
            read("ssh:far", options=far.options)
        assert (tmp_path / "known_hosts").read_text() == ""
    assert "`ssh far`" in caught.value.hint


def test_a_key_that_changed_is_said_to_have_changed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with far_away(tmp_path) as far:
        known = (tmp_path / "known_hosts").read_text()
        (tmp_path / "known_hosts").write_text(f"{known.split(' ')[0]} {_key(tmp_path / 'other/host')}")
        with pytest.raises(UnreachableError, match="not the one that it had"):
            read("ssh:far", options=far.options)


def test_a_host_that_refuses_us_asks_nobody_for_a_password(tmp_path: Path) -> None:
    with far_away(tmp_path) as far:
        (tmp_path / "authorized").write_text("")
        with pytest.raises(UnreachableError, match="refuses us"):
            read("ssh:far", options=far.options)


@pytest.mark.parametrize(
    ("forced", "error", "says"),
    [
        ("PATH=/nowhere; $SSH_ORIGINAL_COMMAND", UnreachableError, "has no `python3` on its PATH"),
        ("echo only noise", MalformedError, "gave no answer"),
        ("exit 7", UnreachableError, "status 7"),
        ("kill -9 $PPID", UnreachableError, "failed"),
        ("echo SyntaxError: old >&2; exit 1", UnreachableError, "SyntaxError: old"),
    ],
)
def test_what_can_be_wrong_over_there(tmp_path: Path, forced: str, error: type[EnvparityError], says: str) -> None:
    with far_away(tmp_path, forced) as far, pytest.raises(error, match=says):
        read("ssh:far", options=far.options)


def test_a_host_that_hangs_has_a_time_limit(tmp_path: Path) -> None:
    with far_away(tmp_path, "sleep 60", timeout_s=1) as far, pytest.raises(TimeLimitError, match="within 1 s"):
        read("ssh:far", options=far.options)


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with far_away(tmp_path) as far:
        far.end()
        with pytest.raises(UnreachableError, match="the connection to far failed"):
            read("ssh:far", options=far.options)


@pytest.mark.parametrize(
    "reference",
    ["-oProxyCommand=touch x", "a b", "host;id", "$(id)", "ada@-host", "far:22", "ssh://far", "a\nb", "@far"],
)
def test_what_is_no_host_reaches_no_command_line(tmp_path: Path, reference: str) -> None:
    """CVE-2017-1000117: a host that begins with a dash was an option of ssh."""
    script(tmp_path / "ssh", f"touch {tmp_path}/ran\n")

    with pytest.raises(UsageError, match="is not a host"):
        read(f"ssh:{reference}", options=Options(environ={"PATH": str(tmp_path)}, base_dir=tmp_path))

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("reference", ["ssh:far", "kube:ml/serving"])
def test_a_tool_that_is_missing_is_named(tmp_path: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="is not on PATH"):
        read(reference, options=Options(environ={"PATH": str(tmp_path)}, base_dir=tmp_path))


# A cluster is not at hand: a stand-in for kubectl starts the command on this machine, and fails as kubectl does.
KUBECTL = """\
echo "$@" > {folder}/asked
env > {folder}/seen
test "$1 $2 $3" = "exec -i --namespace" || exit 64
namespace=$4; shift 4
if test "$1" = --container; then shift 2; fi
pod=$1; shift 2
case $pod in
  absent) echo 'Error from server (NotFound): pods "absent" not found' >&2; exit 1;;
  bare) echo 'OCI runtime exec failed: exec: "python3": executable file not found in $PATH: unknown' >&2; exit 126;;
esac
echo 'Defaulted container "server" out of: server, sidecar' >&2
exec env PATH={path} "$@"
"""


def _cluster(folder: Path) -> Options:
    script(folder / "kubectl", KUBECTL.format(folder=folder, path=SYSTEM_PATH))
    environ = {"PATH": f"{folder}:{SYSTEM_PATH}", "KUBECONFIG": "/etc/kube", "API_TOKEN": "hunter2"}
    return Options(environ=environ, base_dir=folder)


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        ("ml/serving", "exec -i --namespace ml serving -- python3 -I -S -"),
        ("ml/serving/server", "exec -i --namespace ml --container server serving -- python3 -I -S -"),
    ],
)
def test_a_pod_is_read_through_kubectl(tmp_path: Path, reference: str, asked: str) -> None:
    options = _cluster(tmp_path)

    environment = read(f"kube:{reference}", options=options)

    assert repr(environment.distributions) == _of_here(options, "env", f"PATH={SYSTEM_PATH}", "sh", "-c")
    assert environment.origin.reference == f"kube:{reference}"
    assert (tmp_path / "asked").read_text().strip() == asked
    assert "KUBECONFIG=/etc/kube" in (tmp_path / "seen").read_text()
    assert "hunter2" not in (tmp_path / "seen").read_text()
    assert b"hunter2" not in codec.dump_environment(environment)


@pytest.mark.parametrize(
    ("pod", "says"), [("absent", 'pods "absent" not found'), ("bare", "has no `python3` on its PATH")]
)
def test_what_kubectl_refuses_is_said(tmp_path: Path, pod: str, says: str) -> None:
    with pytest.raises(UnreachableError, match=says):
        read(f"kube:ml/{pod}", options=_cluster(tmp_path))


@pytest.mark.parametrize(
    "reference", ["serving", "ml/", "/serving", "ml/a/b/c", "ml/--all", "ml/A", "ml/a b", "ml/../x"]
)
def test_what_is_no_pod_is_a_usage_error(tmp_path: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="not the name of a pod"):
        read(f"kube:{reference}", options=_cluster(tmp_path))

    assert not (tmp_path / "asked").exists()
