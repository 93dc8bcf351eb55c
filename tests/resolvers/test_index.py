"""The exact wheel that was installed, found again: on the public index, and on a local one for what goes wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from envparity.errors import IntegrityError, MalformedError, UnreachableError, UnsupportedError, UsageError
from envparity.network import Client
from envparity.resolvers.index import Problem, find_wheels
from envparity.resolvers.indexes import Indexes
from envparity.resolvers.simple import ACCEPT
from envparity.values import Distribution, LockedDistribution
from tests.wheels import LocalIndex, local_index

SHA = "a" * 64
PYTHON = "3.11.7"
WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def served() -> Iterator[LocalIndex]:
    with local_index() as server:
        yield server


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(attempts=1, timeout_s=10.0) as opened:
        yield opened


def demo(**changes: object) -> Distribution:
    fields: dict[str, object] = {"name": "demo", "version": "1.0", "wheel_tags": ("py3-none-any",), **changes}
    return Distribution(**fields)  # type: ignore[arg-type]


def listed(file_name: str = WHEEL, **changes: object) -> dict[str, object]:
    return {"filename": file_name, "url": f"/files/{file_name}", "hashes": {"sha256": SHA}, "size": 10, **changes}


def find(client: Client, served: LocalIndex, *distributions: Distribution) -> LockedDistribution | Problem:
    found = find_wheels(
        distributions or (demo(),), client=client, indexes=Indexes.at(served.root), python_version=PYTHON
    )
    assert len(found) == max(1, len(distributions))
    return found[0]


def problem(found: LockedDistribution | Problem) -> Problem:
    assert isinstance(found, Problem), found
    assert found.advice
    return found


def match(found: LockedDistribution | Problem) -> LockedDistribution:
    assert isinstance(found, LockedDistribution), found
    return found


def test_the_tags_of_an_installed_numpy_name_one_file_of_the_public_index() -> None:
    """numpy 1.26.4 has dozens of wheels; another one than the trained-with one would compute other numbers."""
    numpy = Distribution(
        name="numpy",
        version="1.26.4",
        wheel_tags=("cp311-cp311-manylinux2014_x86_64", "cp311-cp311-manylinux_2_17_x86_64"),
        import_names=("numpy",),
    )
    with Client() as client:
        (found,) = find_wheels([numpy], client=client, python_version=PYTHON)

    locked = match(found)
    assert locked.wheel.name == "numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    assert locked.wheel.sha256 == "666dbfb6ec68962c033a450943ded891bed2d54e6755e35e5835d63f4f6931d5"
    assert locked.wheel.size_bytes == 18_252_005
    assert locked.wheel.url.startswith("https://")
    assert (locked.state, locked.index, locked.requires_python) == ("matched", "https://pypi.org/simple/", ">=3.9")
    assert locked.import_names == ("numpy",)


def test_the_index_is_asked_for_json_and_a_relative_address_is_resolved(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(url=f"../../files/{WHEEL}#sha256={SHA}"))

    locked = match(find(client, served))

    assert locked.wheel.url == f"{served.address}/files/{WHEEL}"
    assert served.asked == [("/simple/demo/", ACCEPT)]


def test_answers_come_in_the_order_of_the_questions(client: Client, served: LocalIndex) -> None:
    """The lock's order must not depend on which answer was the fastest."""
    names = [f"demo{number}" for number in range(20)]
    for name in names:
        served.project(name, listed(f"{name}-1.0-py3-none-any.whl"))

    found = find_wheels(
        [demo(name=name) for name in names], client=client, indexes=Indexes.at(served.root), python_version=PYTHON
    )

    assert [match(each).name for each in found] == names


def test_versions_are_compared_as_pep_440_says(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed("demo-1.0.0-py3-none-any.whl"))

    assert match(find(client, served, demo(version="1.0"))).version == "1.0"


def test_a_file_of_another_build_is_not_the_one(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(), listed("demo-1.0-1-py3-none-any.whl"))

    assert match(find(client, served)).wheel.name == WHEEL
    built = match(find(client, served, demo(wheel_build="1")))
    assert built.wheel.name == "demo-1.0-1-py3-none-any.whl"
    assert "another build" in problem(find(client, served, demo(wheel_build="2"))).reason


def test_files_with_more_or_fewer_tags_are_not_the_one(client: Client, served: LocalIndex) -> None:
    """A superset of tags is a different file: it was built elsewhere, with other libraries inside."""
    served.project(
        "demo",
        listed("demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
        listed("demo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"),
    )

    found = problem(find(client, served, demo(wheel_tags=("cp311-cp311-manylinux_2_17_x86_64",))))

    assert "cp311-cp311-manylinux_2_17_x86_64, which the index does not have" in found.reason


def test_a_wheel_that_was_built_on_this_kind_of_machine_says_so(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed("demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"))

    found = problem(find(client, served, demo(wheel_tags=("cp311-cp311-linux_x86_64",))))

    assert "built on a machine like this one" in found.reason


def test_two_files_that_match_are_named_both(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(), listed("demo-1.0.0-py3-none-any.whl"))

    found = problem(find(client, served))

    assert "`demo-1.0-py3-none-any.whl` and `demo-1.0.0-py3-none-any.whl`" in found.reason


@pytest.mark.parametrize(
    ("yanked", "reason"), [(True, "no reason given"), ("", "no reason given"), ("broken metadata", "broken metadata")]
)
def test_a_yanked_file_is_locked_with_its_reason(
    client: Client, served: LocalIndex, yanked: bool | str, reason: str
) -> None:
    """It is what the model was trained with; whoever ships it must know."""
    served.project("demo", listed(yanked=yanked))

    assert match(find(client, served)).yanked == reason


def test_a_file_without_sha256_cannot_be_locked(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(hashes={"md5": "0" * 32}))
    assert "gives no sha256" in problem(find(client, served)).reason

    served.project("demo", listed(hashes={"sha256": "short"}))
    assert "gives no sha256" in problem(find(client, served)).reason


def test_a_file_for_another_python_is_a_problem(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(**{"requires-python": ">=3.12"}))

    assert "needs Python >=3.12, and the snapshot has 3.11.7" in problem(find(client, served)).reason


def test_a_requires_python_that_is_not_valid_is_left_out(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(**{"requires-python": "3.x or later"}))

    assert match(find(client, served)).requires_python == ""


def test_a_missing_size_is_counted_and_the_hash_is_checked_on_the_way(client: Client, served: LocalIndex) -> None:
    data = b"wheel" * 1000
    served.file(f"/files/{WHEEL}", data)
    served.project("demo", listed(size=None, hashes={"sha256": hashlib.sha256(data).hexdigest()}))

    assert match(find(client, served)).wheel.size_bytes == 5000


def test_a_file_that_was_replaced_under_its_name_is_an_integrity_error(client: Client, served: LocalIndex) -> None:
    served.file(f"/files/{WHEEL}", b"something else")
    served.project("demo", listed(size=None))

    with pytest.raises(IntegrityError, match=f"{WHEEL}.*and the index promises {SHA}"):
        find(client, served)


def test_what_is_not_on_the_index_is_a_problem_and_not_a_failure(client: Client, served: LocalIndex) -> None:
    """All problems are shown at once; the first must not hide the others."""
    served.project("other", listed("other-1.0-py3-none-any.whl"))

    found = find_wheels(
        [demo(), demo(name="other"), demo(name="third")],
        client=client,
        indexes=Indexes.at(served.root),
        python_version=PYTHON,
    )

    assert [isinstance(each, Problem) for each in found] == [True, False, True]
    assert "is not on the index" in problem(found[0]).reason


def test_a_version_that_is_gone_is_told_from_one_that_has_only_an_sdist(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed("demo-2.0-py3-none-any.whl"), listed("demo-1.1.tar.gz"), listed("odd name.whl"))

    assert "gone from the index" in problem(find(client, served)).reason
    assert "was built here" in problem(find(client, served, demo(version="1.1"))).reason
    assert "local version `+cu121`" in problem(find(client, served, demo(version="1.0+cu121"))).reason
    assert "PEP 440" in problem(find(client, served, demo(version="1.0-final-final"))).reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"editable": True, "direct_url": "file:///home/ana/demo"}, "editable from `file:///home/ana/demo`"),
        ({"editable": True, "location": "/home/ana/demo"}, "editable from `/home/ana/demo`"),
        ({"direct_url": "file:///home/ana/demo.whl"}, "local file or folder, `file:///home/ana/demo.whl`"),
        ({"direct_url": "git+https://ana:pw@host/x@1234"}, "version control, `git+https://host/x@1234`"),
        ({"direct_url": "https://host/demo.whl?token=pw"}, "the address `https://host/demo.whl`"),
        ({"wheel_tags": ()}, "records no wheel"),
        ({"name": "../../etc/passwd"}, "no index can serve"),
    ],
)
def test_what_no_index_can_serve_is_never_looked_for(
    client: Client, served: LocalIndex, changes: dict[str, object], reason: str
) -> None:
    """Asking a public index for the name of a private project is how the wrong one gets installed."""
    found = problem(find(client, served, demo(**changes)))

    assert reason in found.reason
    assert "pw" not in str(found)
    assert served.asked == []


def test_a_wheel_that_was_installed_as_a_file_is_not_to_be_built_again(client: Client, served: LocalIndex) -> None:
    """uv notes no hash of what it downloaded: the lock of such an address needs pip, and nothing needs a build."""
    nowhere_noted = problem(find(client, served, demo(direct_url="https://host/demo.whl")))
    local = problem(find(client, served, demo(direct_url="file:///home/ana/demo.whl")))
    folder = problem(find(client, served, demo(direct_url="file:///home/ana/demo")))

    assert "its hash was not noted" in nowhere_noted.reason
    assert nowhere_noted.command == "pip install --force-reinstall --no-deps https://host/demo.whl"
    assert local.command == ""
    assert "build a wheel" not in f"{local} {nowhere_noted}"
    assert all("--repack" in item.advice for item in (nowhere_noted, local))
    assert folder.command.startswith("pip wheel ")


def test_the_command_for_a_repository_builds_the_commit_and_the_folder_that_were_installed(
    client: Client, served: LocalIndex
) -> None:
    found = problem(find(client, served, demo(direct_url="git+https://ana:pw@host/x@1234#subdirectory=py")))

    assert found.command == "pip wheel --no-deps --wheel-dir dist 'git+https://host/x@1234#subdirectory=py'"


def test_what_a_captive_portal_answers_is_no_page_of_an_index(client: Client, served: LocalIndex) -> None:
    """Read as an empty page, it would say of each distribution that it is gone, and send somebody to train again."""
    for page in (b"<a href='/login'>log in</a>", b"<html><form action='/'></form></html>", b"", b"\xff\xfe\x00"):
        served.answers["/simple/demo/"] = (200, "text/html; charset=utf-8", page)

        with pytest.raises(MalformedError, match="without a link to any file") as caught:
            find(client, served)

        assert "sign-in page" in caught.value.hint


def test_a_later_interface_is_not_guessed_at(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(), meta={"api-version": "2.0"})

    with pytest.raises(UnsupportedError, match=r"version 2\.0"):
        find(client, served)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", json.dumps({"meta": {}, "name": "demo", "files": [{}]}).encode()]
)
def test_a_damaged_answer_names_the_address(client: Client, served: LocalIndex, body: bytes) -> None:
    served.answers["/simple/demo/"] = (200, "application/vnd.pypi.simple.v1+json", body)

    with pytest.raises(MalformedError, match="/simple/demo/ is not what PEP 691 says"):
        find(client, served)


def test_the_files_of_another_project_are_refused(client: Client, served: LocalIndex) -> None:
    """A confused proxy must not get a wheel of its choice into a lock."""
    served.project("demo", listed(), name="evil")

    with pytest.raises(MalformedError, match="with the files of `evil`, not of `demo`"):
        find(client, served)


def test_a_server_error_is_unreachable_and_names_the_place(client: Client, served: LocalIndex) -> None:
    served.answers["/simple/demo/"] = (500, "text/plain", b"")

    with pytest.raises(UnreachableError, match="/simple/demo/ answers 500"):
        find(client, served)


def test_offline_asks_nobody(served: LocalIndex) -> None:
    with Client(offline=True) as client, pytest.raises(UnreachableError, match="--offline"):
        find(client, served)

    assert served.asked == []


def test_an_https_index_may_not_hand_out_other_schemes(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(url=f"file:///tmp/{WHEEL}"))

    assert "not https" in problem(find(client, served)).reason


def test_a_password_in_the_index_is_neither_recorded_nor_printed(client: Client, served: LocalIndex) -> None:
    secret = served.root.replace("http://", "http://ana:pw@")
    served.project("demo", listed())

    (found,) = find_wheels([demo()], client=client, indexes=Indexes.at(secret), python_version=PYTHON)
    (gone,) = find_wheels([demo(name="gone")], client=client, indexes=Indexes.at(secret), python_version=PYTHON)

    assert match(found).index == served.root
    assert match(found).wheel.url == f"{served.address}/files/{WHEEL}"
    assert "pw" not in str(found) + str(gone)


def test_a_token_in_the_address_of_a_wheel_is_not_recorded(client: Client, served: LocalIndex) -> None:
    """Indexes in a cloud hand out signed addresses; a lock is committed, and goes into the image."""
    signed = f"{served.address}/files/{WHEEL}?X-Amz-Signature=s3cret&token=s3cret&x=s3cret#sha256=00"
    served.project("demo", listed(url=signed))

    locked = match(find(client, served))

    assert "s3cret" not in str(locked)
    assert locked.wheel.url.startswith(f"{served.address}/files/{WHEEL}?")


def test_a_wheel_at_no_address_at_all_is_a_problem_and_no_crash(client: Client, served: LocalIndex) -> None:
    served.project("demo", listed(url="https://[x/demo.whl"))

    assert "not https" in problem(find(client, served)).reason


def test_a_password_for_an_index_without_tls_is_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="in the clear") as caught:
        find_wheels(
            [demo()], client=client, indexes=Indexes.at("http://ana:pw@index.example/simple"), python_version=PYTHON
        )

    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["pypi.org", "file:///srv/index", "ftp://host/simple", "", "https://h:99999/simple", "https://[h/simple"]
)
def test_an_index_is_an_http_address(client: Client, address: str) -> None:
    with pytest.raises(UsageError, match="not an http or https address"):
        find_wheels([demo()], client=client, indexes=Indexes.at(address), python_version=PYTHON)


def test_a_wheel_that_was_published_under_other_tags_than_its_own_is_found_by_its_record(
    client: Client, served: LocalIndex
) -> None:
    """LightGBM's WHEEL says `linux_x86_64`, and its file name `manylinux_2_28`: no sdist was built here."""
    names = [f"demo-1.0-py3-none-manylinux_2_28_{machine}.whl" for machine in ("aarch64", "x86_64")]
    served.project("demo", *map(listed, names))
    asked: list[str] = []

    def prove(item: LockedDistribution) -> str:
        asked.append(item.wheel.name)
        return "b" * 64

    def found(record: str | None) -> LockedDistribution | Problem:
        wanted = demo(wheel_tags=("py3-none-linux_x86_64",), record_sha256=record)
        tags = ("manylinux_2_28_x86_64", "linux_x86_64")
        (answer,) = find_wheels(
            [wanted],
            client=client,
            indexes=Indexes.at(served.root),
            python_version=PYTHON,
            platform_tags=tags,
            prove=prove,
        )
        return answer

    assert match(found("b" * 64)).wheel.name == names[1]
    assert asked == [names[1]], "one for another processor need not be fetched"
    assert "sdist" in problem(found("c" * 64)).reason
    assert "sdist" in problem(found(None)).reason
