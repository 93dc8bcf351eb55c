"""
Another machine's interpreter, through a command of the user's own that leads there: `ssh` or `kubectl exec`.

What leads there is a value (the words before the interpreter's), so that the probe is one and the same everywhere. Both
commands use the user's own configuration; what they could ask a person, or take on trust, is switched off.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from envparity.errors import EnvparityError, UnreachableError, UsageError, plain
from envparity.process import Command, Completed, run
from envparity.sources.live import PROBING, asked, elsewhere, last_line
from envparity.sources.reading import Options
from envparity.values import Environment

PYTHON = "python3"

# What ssh and kubectl, and the helpers that log them in, need of our environment; nothing else reaches them.
_NAMES = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "SSH_AUTH_SOCK", "KRB5CCNAME", "KUBECONFIG", "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
)  # fmt: skip
_PREFIXES = ("AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_", "USE_GKE_")

_SSH = (
    "-T",
    *("-o", "BatchMode=yes"),
    # A key that is new or changed is a person's decision, whatever the user's configuration says.
    *("-o", "StrictHostKeyChecking=yes"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15"),
    *("-o", "ForwardAgent=no"),
    *("-o", "ForwardX11=no"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "PermitLocalCommand=no"),
)
_HOST = re.compile(r"(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*|\[?[0-9A-Fa-f:]+(?:%\w+)?\]?)")
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_KUBE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class Way:
    """
    How to get to another place.

    Args:
        reference: as the user wrote it; `place` is how errors call it.
        words: the command that leads there, to which the interpreter's own words are added.
        failure: what its end with a status other than 0 means.
    """

    reference: str
    place: str
    words: tuple[str, ...]
    failure: Callable[[Completed], EnvparityError]


def read_ssh(reference: str, options: Options) -> Environment:
    """
    The Environment of `ssh:[USER@]HOST`: of the `python3` that a command finds there, through the system's `ssh`.

    Port, key and jump host come from the user's `~/.ssh/config`. A key of the host that is not known yet is never taken
    on trust.

    Raises:
        UsageError: not a host, or there is no `ssh` here. UnreachableError: the host cannot be reached, refuses, is not
        the one it was, or has no Python. TimeLimitError, MalformedError: as for any interpreter.
    """
    if not _HOST.fullmatch(reference):
        raise UsageError(
            f"`ssh:{plain(reference)[:200]}` is not a host",
            hint="write ssh:[USER@]HOST; a port goes into ~/.ssh/config",
        )
    words = (_program("ssh", "ssh", options), *_SSH, "--", reference)
    return _through(Way(f"ssh:{reference}", reference, words, lambda done: _of_ssh(reference, done)), options)


def read_kube(reference: str, options: Options) -> Environment:
    """
    The Environment of `kube:NAMESPACE/POD[/CONTAINER]`: of the `python3` in that container, through the system's
    `kubectl exec` and the user's own current context.

    Tested with a stand-in for `kubectl` that starts the command on this machine, not with a cluster.

    Raises:
        UsageError: not such a name, or there is no `kubectl` here. UnreachableError: no cluster, no such pod, or no
        Python in it. TimeLimitError, MalformedError: as for any interpreter.
    """
    parts = reference.split("/")
    if len(parts) not in {2, 3} or not all(_KUBE_NAME.fullmatch(part) for part in parts):
        raise UsageError(
            f"`kube:{plain(reference)[:200]}` is not the name of a pod", hint="write kube:NAMESPACE/POD[/CONTAINER]"
        )
    container = ("--container", parts[2]) if len(parts) == 3 else ()
    words = (_program("kubectl", "kube", options), "exec", "-i", "--namespace", parts[0], *container, parts[1], "--")
    return _through(Way(f"kube:{reference}", reference, words, lambda done: _of_kube(reference, done)), options)


def _through(way: Way, options: Options) -> Environment:
    command = Command(
        (*way.words, PYTHON, *PROBING),
        env={name: value for name, value in options.environ.items() if name in _NAMES or name.startswith(_PREFIXES)},
        timeout_s=options.timeout_s,
        slower="raise the limit with --timeout",
    )

    def start(program: bytes) -> Completed:
        return run(Command(command.argv, program, command.env, None, command.timeout_s, slower=command.slower))

    return elsewhere(way.reference, asked(way.place, start, way.failure, options), None)


def _program(name: str, scheme: str, options: Options) -> str:
    found = shutil.which(name, path=options.environ.get("PATH") or "/usr/bin:/bin")
    if found is None:
        raise UsageError(f"`{scheme}:` needs `{name}`, which is not on PATH", hint="install it")
    return found


def _of_ssh(host: str, done: Completed) -> EnvparityError:
    said = done.stderr.decode("utf-8", "replace")
    if "IDENTIFICATION HAS CHANGED" in said:
        return UnreachableError(
            f"the host key of {host} is not the one that it had: another machine may answer in its place",
            hint=f"ask who runs {host}; only then remove the old key with `ssh-keygen -R`",
        )
    if "Host key verification failed" in said:
        return UnreachableError(
            f"the host key of {host} is not known here, and is not taken on trust",
            hint=f"compare and accept it once yourself: `ssh {host}`",
        )
    if "Permission denied" in said:
        return UnreachableError(
            f"{host} refuses us: {last_line(done)}",
            hint=f"`ssh -o BatchMode=yes {host} true` must work: a key in the agent, no password",
        )
    if done.status == 255:  # "ssh exits with … 255 if an error occurred" (ssh(1))
        return UnreachableError(
            f"the connection to {host} failed: {last_line(done) or 'ssh says nothing'}", hint=f"try it: `ssh {host}`"
        )
    return _without_python(host, done)


def _of_kube(pod: str, done: Completed) -> EnvparityError:
    said = done.stderr.decode("utf-8", "replace")
    if "executable file not found" in said or "not found in $PATH" in said or done.status == 127:
        return _without_python(pod, done)
    return UnreachableError(
        f"`kubectl exec` into {pod} ended with status {done.status}: {last_line(done) or 'it says nothing'}",
        hint="check the context and the name: `kubectl get pod --namespace NAMESPACE`",
    )


def _without_python(place: str, done: Completed) -> EnvparityError:
    if done.status == 127 or b"executable file not found" in done.stderr:
        return UnreachableError(
            f"{place} has no `{PYTHON}` on its PATH, and nothing else is started there",
            hint="read its image instead: `registry:HOST/NAME` or `docker:IMAGE`",
        )
    ended = f"signal {-done.status}" if done.status < 0 else f"status {done.status}"
    said = last_line(done)
    return UnreachableError(
        f"`{PYTHON}` of {place} ended with {ended} before it answered" + (f": {said}" if said else ""),
        hint="it must be Python 3.8 or newer",
    )
