"""What an image says of itself where nobody has to pull it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from envparity.image import configuration
from envparity.values import BaseLayer, Lock, LockedCode, LockedImage, LockedModel, Options, Target, Variable
from tests.values import OTHER_SHA256, SOME_SHA256, a_lock


def test_annotations_say_base_lock_snapshot_models_and_what_the_builder_said_by_the_standards_keys() -> None:
    lock = a_lock()
    options = Options(
        models=(LockedModel(name="model.joblib", size_bytes=9, sha256=OTHER_SHA256),),
        labels=(
            Variable("org.opencontainers.image.revision", "0f6627d5"),
            Variable("org.opencontainers.image.source", "https://git.example/team/tickets"),
            Variable("org.opencontainers.image.base.name", "another"),
            Variable("team", "tickets"),
        ),
    )

    said = configuration.announced(lock, lock.targets[0], options, SOME_SHA256)

    assert said == {
        "org.opencontainers.image.revision": "0f6627d5",
        "org.opencontainers.image.source": "https://git.example/team/tickets",
        "org.opencontainers.image.base.name": "debian:bookworm",
        "envparity.lock": f"sha256:{SOME_SHA256}",
        "envparity.snapshot": f"sha256:{lock.snapshot.sha256}",
        "envparity.model.model.joblib": f"sha256:{OTHER_SHA256}",
    }
    stated = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    created = configuration.announced(lock, lock.targets[0], options, SOME_SHA256, stated)
    assert created == {**said, "org.opencontainers.image.created": "2026-01-02T03:04:05Z"}


SOURCE, REVISION = "org.opencontainers.image.source", "org.opencontainers.image.revision"
CODE = LockedCode(url="https://git.example/team/tickets", commit="a1" * 20, dirty=True)


def on_an_image(target: Target) -> Target:
    """The same on a base that is an image, which says which code it is of itself."""
    layer = BaseLayer(digest=f"sha256:{SOME_SHA256}", diff_id=f"sha256:{SOME_SHA256}", size_bytes=1, media_type="x")
    labels = (
        Variable(REVISION, "of-the-base"),
        Variable(SOURCE, "https://base.example"),
        Variable("vendor", "somebody"),
    )
    image = LockedImage(digest=f"sha256:{SOME_SHA256}", layers=(layer,), glibc="2.36", labels=labels)
    return msgspec.structs.replace(target, base="registry:hub.example/python:3.11", image=image)


def labels_of(lock: Lock, options: Options) -> Any:
    return configuration.runtime(lock, lock.targets[0], options, SOME_SHA256)["Labels"]


def test_the_code_that_trained_stands_in_labels_and_annotations() -> None:
    """The same in every builder: it is of the lock, and not of the folder that somebody builds in."""
    lock = a_lock(code=CODE)

    labels = labels_of(lock, Options())
    said = configuration.announced(lock, lock.targets[0], Options(), SOME_SHA256)

    wanted = {SOURCE: "https://git.example/team/tickets", REVISION: f"{'a1' * 20}-dirty"}
    assert wanted.items() <= labels.items()
    assert wanted.items() <= said.items()


def test_what_the_builder_says_of_the_code_counts_and_an_empty_word_leaves_it_out() -> None:
    lock = a_lock(code=CODE)
    options = Options(labels=(Variable(REVISION, "v1"), Variable(SOURCE, "")))

    for said in (labels_of(lock, options), configuration.announced(lock, lock.targets[0], options, SOME_SHA256)):
        assert said[REVISION] == "v1"
        assert SOURCE not in said


def test_the_code_of_a_base_is_not_that_of_the_image() -> None:
    target = on_an_image(a_lock().targets[0])

    known = labels_of(a_lock(targets=(target,), code=LockedCode(commit="a1" * 20)), Options())

    assert known[REVISION] == "a1" * 20
    assert SOURCE not in known
    assert known["vendor"] == "somebody"
    assert labels_of(a_lock(targets=(target,)), Options())[SOURCE] == "https://base.example"


def test_a_health_check_is_asked_without_a_shell_with_a_server_and_without() -> None:
    def check(options: Options) -> Any:
        return configuration.runtime(a_lock(), a_lock().targets[0], options, SOME_SHA256)["Healthcheck"]

    own = check(Options(health=("/opt/app/well", "--fast")))
    served = check(Options(serve="fastapi"))

    assert own["Test"] == ["CMD", "/opt/app/well", "--fast"]
    assert served["Test"] == ["CMD", "/opt/env/bin/python", "/opt/serve/health.py"]
    assert own | {"Test": []} == served | {"Test": []}
    assert check(Options(health=("/opt/app/well",), serve="fastapi"))["Test"] == ["CMD", "/opt/app/well"]
    assert check(Options()) == {}
