"""What an image says of itself: the settings it starts with, its labels, and annotations, readable without a pull."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from envparity.codec import canonical
from envparity.errors import MalformedError
from envparity.image import authorities
from envparity.image.app import PLACE as APP
from envparity.image.plan import PREFIX
from envparity.image.serving import health_check
from envparity.values import Lock, LockedCode, Options, Target, python_xy

OPTIONS = "envparity.options"
LOCK = "envparity.lock"
SNAPSHOT = "envparity.snapshot"
PACKER = "envparity.packer"
BYTECODE = "envparity.bytecode"
MODEL = "envparity.model"

_VERSION = re.compile(r"3\.[0-9]{1,3}\.[0-9]{1,3}[0-9a-z+]{0,8}")
_PATH = f"/{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# "Annotations" of https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md
_STANDARD = "org.opencontainers.image."
BASE_NAME = f"{_STANDARD}base.name"
_CREATED = f"{_STANDARD}created"
_SOURCE = f"{_STANDARD}source"
_REVISION = f"{_STANDARD}revision"
BASE_DIGEST = f"{_STANDARD}base.digest"


def runtime(lock: Lock, target: Target, options: Options, lock_sha256: str, compiled_by: str = "") -> dict[str, object]:
    """
    The `config` part of an image's configuration. Equal arguments give equal values, in one order. `compiled_by` is the
    Python that made its byte code, where that is another one than its own.
    """
    # No LANG: an image has the settings of its snapshot, and Python takes UTF-8 where there is none (PEP 538, PEP 540).
    variables, labels = {"PATH": _PATH}, {}
    if target.image is not None:
        variables |= {item.name: item.value for item in target.image.variables}
        variables["PATH"] = _path_on(variables["PATH"])
        labels = {item.name: item.value for item in target.image.labels}
    if options.app is not None:
        variables["PYTHONPATH"] = f"/{APP}"
    variables |= {item.name: item.value for item in (*lock.settings, *authorities.variables(options), *options.env)}
    return {
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Entrypoint": list(options.entrypoint),
        "User": options.user,
        "WorkingDir": options.workdir or (f"/{APP}" if options.app is not None else "/"),
        "Healthcheck": health_check(options),
        "ExposedPorts": {f"{port}/tcp": {} for port in options.ports},
        "Labels": {
            **_labels(labels, lock, options),
            **identity(lock, target, lock_sha256),
            OPTIONS: canonical(msgspec.to_builtins(options)).decode(),
            **({BYTECODE: compiled_by} if compiled_by else {}),
        },
    }


def _labels(base: Mapping[str, str], lock: Lock, options: Options) -> dict[str, str]:
    """
    What base, training and builder say, the latter last. Where the code is known, that of the base is not this image's.
    A builder's empty word for what the lock says leaves it out.
    """
    known = origin(lock)
    beneath = {name: value for name, value in base.items() if not known or name not in {_SOURCE, _REVISION}}
    said = {**beneath, **known, **{item.name: item.value for item in options.labels}}
    return {name: value for name, value in said.items() if value or name not in known}


def origin(lock: Lock) -> dict[str, str]:
    """Which code trained, by the standard's own keys, as far as the lock says it."""
    code = lock.code or LockedCode()
    return {name: value for name, value in ((_SOURCE, code.url), (_REVISION, code.revision)) if value}


def _path_on(path: str) -> str:
    """The search path of a base, with the environment before it."""
    own = f"/{PREFIX}/bin"
    return path if path.split(":")[0] == own else f"{own}:{path}"


def beneath(target: Target) -> list[dict[str, object]]:
    """The history that a base brings, which is an image: its own lines, as they are."""
    return [] if target.image is None else [msgspec.to_builtins(line) for line in target.image.history]


def identity(lock: Lock, target: Target, lock_sha256: str) -> dict[str, str]:
    """What identifies the content: base, lock and snapshot by digest."""
    image = {BASE_DIGEST: target.image.digest} if target.image is not None else {}
    return {
        BASE_NAME: target.base.removeprefix("registry:").partition("@")[0] if image else target.base,
        **image,
        LOCK: f"sha256:{lock_sha256}",
        SNAPSHOT: f"sha256:{lock.snapshot.sha256}",
    }


def announced(
    lock: Lock, target: Target, options: Options, lock_sha256: str, created: datetime | None = None
) -> dict[str, str]:
    """
    What stands in the manifest, to be read without a pull: the identity, each model by its digest, the standard's own
    keys that the lock says (source, revision) or the builder gave as labels (version, …), and a time where one was
    stated; also what the layers were packed with, where that is not what every lock says.
    """
    said = {name: value for name, value in _labels({}, lock, options).items() if name.startswith(_STANDARD)}
    said |= identity(lock, target, lock_sha256)
    said |= {f"{MODEL}.{model.name}": f"sha256:{model.sha256}" for model in options.models}
    if lock.packer.codec != "gzip":
        said[PACKER] = canonical(msgspec.to_builtins(lock.packer)).decode()
    return said | ({_CREATED: f"{created:%Y-%m-%dT%H:%M:%SZ}"} if created is not None else {})


def recorded_compiler(labels: dict[str, str], version: str) -> str:
    """
    The version of the Python that made an image's byte code, as the image says it: `version`, that of its own, or
    another patch release of that.
    """
    said = labels.get(BYTECODE, "")
    return said if _VERSION.fullmatch(said) and python_xy(said) == python_xy(version) else version


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
