"""What an image says of itself: the settings it starts with, its labels, and annotations, readable without a pull."""

from __future__ import annotations

import msgspec

from envparity.codec import canonical
from envparity.errors import MalformedError
from envparity.image.app import PLACE as APP
from envparity.image.plan import PREFIX
from envparity.image.serving import HEALTH_CHECK
from envparity.values import Lock, Options, Target

OPTIONS = "envparity.options"
LOCK = "envparity.lock"
SNAPSHOT = "envparity.snapshot"

_PATH = f"/{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# "Annotations" of https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md
_BASE_NAME = "org.opencontainers.image.base.name"


def runtime(lock: Lock, target: Target, options: Options, lock_sha256: str) -> dict[str, object]:
    """The `config` part of an image's configuration. Equal arguments give equal values, in one order."""
    # No LANG: an image has the settings of its snapshot, and Python takes UTF-8 where there is none (PEP 538, PEP 540).
    variables = {"PATH": _PATH}
    if options.app is not None:
        variables["PYTHONPATH"] = f"/{APP}"
    variables |= {item.name: item.value for item in (*lock.settings, *options.env)}
    return {
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Entrypoint": list(options.entrypoint),
        "User": options.user,
        "WorkingDir": options.workdir or (f"/{APP}" if options.app is not None else "/"),
        "Healthcheck": HEALTH_CHECK if options.serve else {},
        "ExposedPorts": {f"{port}/tcp": {} for port in options.ports},
        "Labels": {
            **{item.name: item.value for item in options.labels},
            **identity(lock, target, lock_sha256),
            OPTIONS: canonical(msgspec.to_builtins(options)).decode(),
        },
    }


def identity(lock: Lock, target: Target, lock_sha256: str) -> dict[str, str]:
    """What identifies the content: base, lock and snapshot by digest."""
    return {
        _BASE_NAME: target.base,
        LOCK: f"sha256:{lock_sha256}",
        SNAPSHOT: f"sha256:{lock.snapshot.sha256}",
    }


def recorded_options(labels: dict[str, str]) -> Options | None:
    """
    The options that an image says it was built with, or `None` where it does not.

    Raises:
        MalformedError: its label is not one that we write.
    """
    text = labels.get(OPTIONS)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Options)
    except msgspec.DecodeError as error:
        raise MalformedError(f"the image's label `{OPTIONS}` cannot be read: {error}") from error
