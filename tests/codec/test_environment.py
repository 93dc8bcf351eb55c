"""Saved environments: they round-trip, their digest is that of their content, and a damaged one is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import msgspec
import pytest

from envparity import codec, resources
from envparity.errors import MalformedError
from envparity.values import (
    Artifact,
    Distribution,
    Environment,
    File,
    Gap,
    GapKind,
    Host,
    Origin,
    OsPackage,
    Python,
    Settings,
    Variable,
)
from tests.values import OTHER_SHA256, SOME_SHA256, training


def test_what_was_written_is_read_back() -> None:
    assert codec.load_environment(codec.dump_environment(training()), "it") == codec.load_environment(
        codec.dump_environment(training()), "it"
    )
    assert codec.load_environment(codec.dump_environment(training()), "it").distributions is not None
    again = codec.load_environment(codec.dump_environment(training()), "it")

    assert codec.dump_environment(again) == codec.dump_environment(training())


def test_the_content_digest_is_that_of_the_model_s_runtime_alone() -> None:
    """Two people with the same runtime must get the same digest, wherever, whenever and with whichever tooling."""
    elsewhere = training(
        origin=Origin(kind="python", reference="python:/usr/bin/python3", taken_at="2031-01-01T00:00:00Z"),
        host=Host(kernel="5.4.0", cores=2),
        distributions=tuple(reversed(training().distributions or ()))[1:],
        gaps=(),
    )

    assert codec.content_digest(elsewhere) == codec.content_digest(training())


def test_equal_environments_are_one_document_whatever_their_texts_are_made_of() -> None:
    """What a container answered came as JSON, what its image says was made here: one runtime has one digest."""
    fields = {"name": "libc6", "version": "2.36-9"}
    implied = training(
        os_packages=(OsPackage(**fields),), artifacts=(Artifact(name="m", size_bytes=1, sha256=SOME_SHA256),)
    )
    told = training(
        os_packages=(OsPackage(**fields, manager="".join(["dp", "kg"])),),
        artifacts=(Artifact(name="m", size_bytes=1, sha256=SOME_SHA256, kind="".join(["mod", "el"])),),
    )

    assert told == implied
    assert codec.dump_environment(told) == codec.dump_environment(implied)
    assert codec.content_bytes(told) == codec.content_bytes(implied)
    rpm = training(os_packages=(OsPackage(**fields, manager="rpm"),))
    assert b'"manager": "rpm"' in codec.dump_environment(rpm)


def test_every_text_that_is_a_default_is_left_out_of_a_document() -> None:
    """A new field with such a default must not bring the difference back."""

    def structs(annotation: Any) -> set[type[msgspec.Struct]]:
        found = set().union(*map(structs, getattr(annotation, "__args__", ())))
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            found |= {annotation}.union(*(structs(field.type) for field in msgspec.structs.fields(annotation)))
        return found

    texts = {
        (kind.__name__, field.name)
        for kind in structs(Environment)
        for field in msgspec.structs.fields(kind)
        if type(field.default) is str and field.default
    }
    assert texts == {("OsPackage", "manager"), ("Artifact", "kind")}


def test_a_changed_version_changes_the_content_digest() -> None:
    changed = training(distributions=(Distribution(name="numpy", version="1.26.5"),))

    assert codec.content_digest(changed) != codec.content_digest(training())


def test_no_name_of_the_training_host_is_in_what_goes_into_an_image() -> None:
    """A strangers' registry keeps an image for ever: a home folder names a person, a mount names a customer."""
    home = "/home/canary/secret project"
    whole = training(
        origin=Origin(kind="venv", reference=f"venv:{home}"),
        python=Python(
            version="3.11.7",
            prefix=home,
            base_prefix=home,
            stdlib=f"{home}/lib",
            path=(home,),
            provenance=home,
            executable=File(f"{home}/bin/python", SOME_SHA256),
            libpython=File(f"{home}/lib/libpython3.11.so", SOME_SHA256),
        ),
        distributions=(
            Distribution(name="a", version="1", location=home, direct_url="file:///home/canary/a", editable=True),
            Distribution(name="b", version="1", direct_url="git+file:///home/canary/b@1234"),
            Distribution(name="c", version="1", direct_url="/home/canary/c", missing=(f"{home}/x",)),
            Distribution(name="d", version="1", requires=("a @ file:///home/canary/a ; python_version > '3'", "e")),
        ),
        settings=Settings(
            variables=(
                *(Variable(name, "canary/relative") for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH")),
                *(Variable(name, "~canary") for name in ("PYTHONEXECUTABLE", "PYTHONHOME", "PYTHONSTARTUP")),
                *(Variable(name, f"a:{home}") for name in ("PYTHONUSERBASE", "PYTHONPYCACHEPREFIX", "CUDA_CACHE_PATH")),
                Variable("XLA_FLAGS", f"--xla_dump_to={home} --other"),
                Variable("KMP_CPUINFO_FILE", "//home/canary/cpuinfo"),
            ),
            names_only=("CANARY_TOKEN",),
        ),
        artifacts=(Artifact(name="model.joblib", size_bytes=9, sha256=OTHER_SHA256, path=f"{home}/model.joblib"),),
        gaps=(
            Gap("distributions", GapKind.UNREAD, f"Permission denied: '{home}/x'", f"{home}/x.dist-info"),
            Gap("python", GapKind.UNREAD, "its library is /home/canary/lib/libpython.so: unread", ""),
            Gap("os_packages", GapKind.UNREAD, f"see `{home}` and `other`", "libc6"),
        ),
    )
    whole = msgspec.structs.replace(whole, host=Host(kernel="canary"))

    content = codec.content_bytes(whole)

    assert b"canary" not in content.lower()
    assert b"secret project" not in content
    assert codec.content_bytes(codec.load_environment(content, "the content")) == content


def test_a_variable_with_a_path_stays_by_name_and_other_values_stay() -> None:
    variables = (
        Variable("PYTHONPATH", "/home/ada/src"),
        Variable("TZ", "Europe/Berlin"),
        Variable("OMP_PLACES", "{0:4}"),
        Variable("XLA_FLAGS", "--xla_cpu_enable_fast_math=false"),
    )
    kept = codec.content(training(settings=Settings(variables=variables))).settings

    assert kept is not None
    assert {item.name: item.value for item in kept.variables} == {
        "PYTHONPATH": "",
        "TZ": "Europe/Berlin",
        "OMP_PLACES": "{0:4}",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=false",
    }


def test_an_address_of_another_machine_stays_in_the_content() -> None:
    """Which commit of a repository was installed is what trained the model, whoever's host it was."""
    address = "git+https://git.example/team/demo@0123456"
    distribution = Distribution(name="demo", version="1", direct_url=address, requires=(f"a @ {address}",))
    (kept,) = codec.content(training(distributions=(distribution,))).distributions or ()

    assert (kept.direct_url, kept.requires) == (address, (f"a @ {address}",))


@pytest.mark.parametrize("schema", [0, True, "1", None, 1.0, [1]])
def test_a_document_of_no_schema_that_there_is_is_refused(schema: object) -> None:
    document = json.loads(codec.dump_environment(training())) | {"schema": schema}

    with pytest.raises(MalformedError, match="and 1 is due") as caught:
        codec.load_environment(json.dumps(document).encode(), "it")

    assert caught.value.where == "schema"


def test_a_file_that_is_known_to_be_another_changes_the_content_digest() -> None:
    """Whether anybody looked does not: most snapshots are taken without --verify-files, and give the same lock."""

    def digest(**fields: tuple[str, ...] | None) -> str:
        environment = training()
        first, *others = environment.distributions or ()
        changed = msgspec.structs.replace(first, **fields)
        return codec.content_digest(msgspec.structs.replace(environment, distributions=(changed, *others)))

    assert digest(modified=None, missing=None) == digest(modified=(), missing=())
    assert len({digest(modified=()), digest(modified=("a.py",)), digest(missing=("a.py",))}) == 3
    assert digest(modified=("/usr/local/bin/a",)) == digest(modified=()), "a place of the training host"


def test_what_could_not_be_read_changes_the_content_digest() -> None:
    """A snapshot that is not whole is not the same as one that is, even if what both hold is equal."""
    torn = training(gaps=(Gap("distributions", GapKind.UNREAD, "permission denied", "scipy"),))

    assert codec.content_digest(torn) != codec.content_digest(training())
    assert not torn.complete


def test_the_content_names_no_place_of_the_training_host() -> None:
    assert b"/home/ada" not in codec.content_bytes(training())
    assert b"AWS_SECRET" not in codec.content_bytes(training())


def test_the_content_is_a_saved_environment_with_the_same_digest() -> None:
    """A lock keeps only this document; whoever reads it must come to the digest that the lock names."""
    content = codec.load_environment(codec.content_bytes(training()), "the content")

    assert codec.content_digest(content) == codec.content_digest(training())
    assert codec.content_bytes(content) == codec.content_bytes(training())


def test_the_order_of_keys_in_the_file_means_nothing() -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = list(value.items())
            random.Random(7).shuffle(items)
            return {key: shuffled(inner) for key, inner in items}
        return [shuffled(inner) for inner in value] if isinstance(value, list) else value

    document = shuffled(json.loads(codec.dump_environment(training())))
    read = codec.load_environment(json.dumps(document).encode(), "it")

    assert codec.content_digest(read) == codec.content_digest(training())


def test_a_file_cut_anywhere_is_refused() -> None:
    data = codec.dump_environment(training())

    for twentieth in range(20):
        with pytest.raises(MalformedError):
            codec.load_environment(data[: len(data) * twentieth // 20], "it")


def test_an_edited_file_is_refused_since_its_digest_no_longer_matches() -> None:
    """Somebody who changes one version by hand would otherwise verify against what was never trained."""
    data = codec.dump_environment(training()).replace(b"1.26.4", b"1.26.5")

    with pytest.raises(MalformedError, match="changed after it was written"):
        codec.load_environment(data, "it")


def _edited(**changes: Any) -> bytes:
    document = json.loads(codec.dump_environment(training()))
    del document["content_digest"]
    return json.dumps(document | changes).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
        (b"caf\xe9", "not UTF-8"),
        (b"[]", "not a saved environment"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "not a JSON number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b"[" * 50_000 + b"]" * 50_000, "nested deeper"),
        (_edited(schema=2), "newer envparity"),
        (_edited(schema="one"), "schema"),
        (_edited(python=[]), "python"),
        (_edited(distributions=[{"version": "1"}]), r"distributions\[0\]"),
        (_edited(artifacts=[{"kind": "model", "name": "m", "size_bytes": -1, "sha256": "0" * 64}]), "size_bytes"),
    ],
)
def test_what_is_no_saved_environment_is_refused_with_its_place(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError) as caught:
        codec.load_environment(data, "it")

    error = caught.value
    assert __import__("re").search(words, f"{error} {error.hint}")


def test_unknown_keys_are_kept_out_with_a_warning_that_names_them() -> None:
    data = _edited(colour="blue", python={"version": "3.11.7", "mood": "good"})

    with pytest.warns(codec.UnknownKeysWarning, match=r"colour, python\.mood"):
        environment = codec.load_environment(data, "it")

    assert environment.python is not None
    assert environment.python.version == "3.11.7"


def test_facts_of_two_collectors_make_one_section() -> None:
    environment = codec.environment(
        [
            {"kind": "system", "id": "debian", "version_id": "12"},
            {"kind": "system", "libc": "glibc", "libc_version": "2.36"},
            {"kind": "section", "section": "os_packages"},
            {"kind": "gap", "section": "cpu", "gap": "unread", "reason": "/proc is not there"},
        ],
        Origin(kind="test"),
    )

    assert environment.system is not None
    assert (environment.system.id, environment.system.libc_version) == ("debian", "2.36")
    assert environment.os_packages == ()
    assert environment.distributions is None
    assert not environment.complete


def test_a_forged_fact_is_refused() -> None:
    with pytest.raises(MalformedError, match="unknown kind"):
        codec.environment([{"kind": "surprise"}], Origin(kind="test"))
    with pytest.raises(MalformedError, match=r"distributions\[0\]"):
        codec.environment([{"kind": "distribution", "name": 7}], Origin(kind="test"))


def test_of_its_origin_a_place_itself_says_only_which_channels_it_has() -> None:
    """Where a snapshot was taken, and by what, is for who takes it to say; and no content depends on an order."""
    facts: list[dict[str, Any]] = [{"kind": "section", "section": "conda_packages"}]
    told = {"kind": "origin", "channels": ["b", "a"], "reference": "forged", "tool": "forged"}

    environment = codec.environment([*facts, told], Origin(kind="live", reference="conda:/x"))

    assert environment.origin == Origin(kind="live", reference="conda:/x", channels=("b", "a"))
    assert codec.load_environment(codec.dump_environment(environment), "it") == environment
    assert codec.content_digest(environment) == codec.content_digest(codec.environment(facts, Origin(kind="live")))
    with pytest.raises(MalformedError, match="channels"):
        codec.environment([{"kind": "origin", "channels": [7]}], Origin(kind="live"))
    with pytest.raises(MalformedError, match="channels"):
        codec.environment([{"kind": "origin"}], Origin(kind="live"))


def test_the_shipped_schema_is_the_one_that_the_types_give() -> None:
    shipped = msgspec.json.decode(resources.data("environment.schema.json"))

    assert shipped == codec.environment_schema()


def test_a_saved_environment_is_valid_by_the_shipped_schema_and_a_damaged_one_is_not() -> None:
    """By somebody else's validator: a schema that accepts everything would agree with any type."""
    validator = jsonschema.Draft202012Validator(json.loads(resources.data("environment.schema.json")))
    document = json.loads(codec.dump_environment(training()))

    assert list(validator.iter_errors(document)) == []
    assert list(validator.iter_errors(document | {"python": {"version": 3.11}})) != []
    assert list(validator.iter_errors({**document, "schema": None})) != []
