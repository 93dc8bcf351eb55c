"""Which indexes are asked, in which order, and which distribution is of which; and that none wins in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity.errors import MalformedError, UnreachableError, UsageError
from envparity.network import Client
from envparity.resolvers.configured import configured
from envparity.resolvers.index import Problem, find_wheels
from envparity.resolvers.indexes import Index, Indexes, indexes
from envparity.resolvers.logins import Logins
from envparity.resolvers.problems import PYPI
from envparity.values import Distribution, LockedDistribution
from tests.indexes import BASIC, SECRET, USER, PrivateIndex, html_page, listed, private_index
from tests.serving import plain, serving
from tests.wheels import local_index, pack

DEMO = Distribution(name="demo", version="1.0", wheel_tags=("py3-none-any",))
PYTHON = "3.11.7"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return pack(tmp_path, {"demo.py": b"one = 1\n"})


def find(sought: Indexes, environ: dict[str, str] | None = None, demo: Distribution = DEMO) -> object:
    with Client(attempts=1, timeout_s=10, logins=Logins(environ or {}, sought.named)) as client:
        (found,) = find_wheels([demo], client=client, indexes=sought, python_version=PYTHON)
    return found


def found_on(sought: Indexes) -> str:
    answer = find(sought)
    assert isinstance(answer, LockedDistribution), answer
    return answer.index


def test_the_first_plain_address_is_the_default_and_named_ones_are_extra() -> None:
    assert [index.url for index in indexes(()).order] == [PYPI]
    assert [index.name for index in indexes(("corp=https://corp.example/simple",)).order] == ["pypi", "corp"]
    assert [index.url for index in indexes(("b=https://b.example/", "https://a.example/simple")).order] == [
        "https://a.example/simple/",
        "https://b.example/",
    ]


def test_an_address_with_an_equals_sign_is_no_name() -> None:
    (index,) = indexes(("https://a.example/simple?x=y/",)).order

    assert index.url.startswith("https://a.example/simple?x=y")


@pytest.mark.parametrize(
    ("named", "pins", "says"),
    [
        (("corp=ftp://corp.example/",), (), "cannot be asked"),
        (("a=https://one.example/", "a=https://two.example/"), (), "two indexes are called `a`"),
        ((), ("demo",), "is no NAME=INDEX"),
        ((), ("demo=corp",), "names the index `corp`, which is not among"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(named: tuple[str, ...], pins: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        indexes(named, pins)


def test_a_secret_of_an_index_is_in_no_text_of_it() -> None:
    (_, index) = indexes((f"corp=https://{USER}:{SECRET}@corp.example/simple",)).order

    assert SECRET not in f"{index} {index!r} {index.shown} {index.name}"


def test_one_name_on_two_indexes_with_two_files_is_refused_until_somebody_says_whose_it_is(tmp_path: Path) -> None:
    """The attack that is called dependency confusion: a company's own name, taken on the public index."""
    (tmp_path / "evil").mkdir()
    own, evil = pack(tmp_path, {"demo.py": b"own\n"}), pack(tmp_path / "evil", {"demo.py": b"evil\n"})
    with local_index() as public, local_index() as corp:
        public.project("demo", listed(evil))
        corp.project("demo", listed(own))
        both = indexes((public.root, f"corp={corp.root}"))

        problem = find(both)

        assert isinstance(problem, Problem)
        assert problem.confused
        assert "is on two indexes, and is not the same file there" in problem.reason
        assert public.root in problem.reason
        assert f"corp ({corp.root})" in problem.reason
        assert "`--index-for demo=corp`" in problem.advice
        assert found_on(indexes((public.root, f"corp={corp.root}"), ("Demo=corp",))) == corp.root
        assert found_on(indexes((public.root, f"corp={corp.root}"), (f"demo={public.root}",))) == public.root


def test_the_same_file_on_two_indexes_is_no_confusion_and_the_first_one_has_it(wheel: Path) -> None:
    with local_index() as public, local_index() as mirror:
        public.project("demo", listed(wheel))
        mirror.project("demo", listed(wheel))

        assert found_on(indexes((public.root, f"mirror={mirror.root}"))) == public.root


def test_another_version_on_the_public_index_does_not_stand_in_the_way(wheel: Path) -> None:
    with local_index() as public, local_index() as corp:
        public.project("demo", listed(wheel, filename="demo-99.0-py3-none-any.whl"))
        corp.project("demo", listed(wheel))

        assert found_on(indexes((public.root, f"corp={corp.root}"))) == corp.root


def test_what_is_on_no_index_names_them_all_and_those_that_pip_would_ask() -> None:
    environ = {"PIP_EXTRA_INDEX_URL": f"https://{USER}:{SECRET}@corp.example/simple"}
    with local_index() as one, local_index() as two:
        problem = find(indexes((one.root, f"b={two.root}"), (), configured(environ)))

    assert isinstance(problem, Problem)
    assert problem.reason == f"is not on the index {one.root}, nor on {two.root}"
    assert "https://corp.example/simple/: `--index from-config` asks there too" in problem.advice
    assert SECRET not in str(problem)


def test_html_says_the_same_as_json(wheel: Path) -> None:
    """Most private indexes have nothing else."""
    more = {"requires-python": ">=3.8", "yanked": "it's <broken>"}
    with local_index() as one, local_index() as two:
        one.project("demo", listed(wheel, **more))
        two.answers["/simple/demo/"] = (200, "text/html; charset=utf-8", html_page("demo", listed(wheel, **more)))
        two.file(f"/files/{wheel.name}", wheel.read_bytes())
        as_json, as_html = find(Indexes.at(one.root)), find(Indexes.at(two.root))

    assert isinstance(as_json, LockedDistribution)
    assert isinstance(as_html, LockedDistribution)
    assert as_html.wheel.size_bytes == wheel.stat().st_size
    for field in ("requires_python", "yanked", "state", "version"):
        assert getattr(as_html, field) == getattr(as_json, field)
    assert as_html.wheel.url == f"{two.address}/files/{wheel.name}"


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (b"<a href='demo-1.0-py3-none-any.whl'>demo</a>", "gives no sha256"),
        (b"<title>Links for demo</title>", "gone from the index"),
        (b"<a href='/f/demo-2.0-py3-none-any.whl'>demo-2.0-py3-none-any.whl</a>", "gone from the index"),
        (b"<a href='/f/demo-1.0.tar.gz#sha256=00'>demo-1.0.tar.gz", "has an sdist of this version"),
        (b"<a>x</a><a href=''></a><a href='demo-1.0-py3-none-any.whl#md5=0&x'><b>", "gives no sha256"),
    ],
)
def test_html_that_is_poor_or_broken_is_read_for_what_is_there(page: bytes, says: str) -> None:
    with local_index() as served:
        served.answers["/simple/demo/"] = (200, "text/html", page)
        problem = find(Indexes.at(served.root))

    assert says in str(problem)


def test_html_of_a_later_interface_is_not_guessed_at() -> None:
    with local_index() as served:
        served.answers["/simple/demo/"] = (
            200, "text/html", b"<meta name='pypi:repository-version' content='2.0'><a href='x.whl'>x.whl</a>"
        )  # fmt: skip
        with pytest.raises(UsageError, match=r"version 2\.0"):
            find(Indexes.at(served.root))


def test_attestations_of_a_file_are_noted(wheel: Path) -> None:
    with local_index() as served:
        served.project("demo", listed(wheel, provenance="/integrity/demo/provenance"))
        found = find(Indexes.at(served.root))

    assert isinstance(found, LockedDistribution)
    assert found.provenance == (f"{served.address}/integrity/demo/provenance",)


def test_a_wheel_that_was_installed_from_its_address_is_locked_at_it(wheel: Path) -> None:
    digest = listed(wheel)["hashes"]["sha256"]  # type: ignore[index]
    with local_index() as served:
        served.file(f"/own/{wheel.name}", wheel.read_bytes())
        url = f"{served.address}/own/{wheel.name}"
        demo = Distribution(
            name="demo", version="1.0", wheel_tags=("py3-none-any",), direct_url=f"{url}#sha256={digest}"
        )
        found = find(Indexes.at(served.root), demo=demo)
        asked = [path for path, _ in served.asked]

    assert isinstance(found, LockedDistribution)
    assert (found.wheel.url, found.wheel.sha256, found.index) == (url, digest, "")
    assert asked == [f"/own/{wheel.name}"]


def test_a_page_of_a_hundred_megabytes_is_read(wheel: Path) -> None:
    """No index has one, and a mirror of everything has come near."""
    with local_index() as served:
        many = [listed(wheel, filename=f"demo-{n}.5-py3-none-any.whl", yanked="x" * 5000) for n in range(5000)]
        served.project("demo", *many, listed(wheel))

        assert found_on(Indexes.at(served.root)) == served.root


# who we are, and to whom that is told


def private(index: PrivateIndex, environ: dict[str, str], name: str = "corp") -> object:
    return find(Indexes((Index.of(index.root, name),)), environ)


def test_a_login_comes_from_the_address_the_environment_or_netrc(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {SECRET}\n")
    ways: list[dict[str, str]] = [
        {"ENVPARITY_INDEX_CORP_USERNAME": USER, "ENVPARITY_INDEX_CORP_PASSWORD": SECRET},
        {"UV_INDEX_CORP_USERNAME": USER, "UV_INDEX_CORP_PASSWORD": SECRET},
        {"NETRC": str(tmp_path / "netrc")},
    ]
    with private_index(wheel) as index:
        ways += [
            {"PIP_EXTRA_INDEX_URL": f"https://other.example/ {index.with_login}"},
            {"ENVPARITY_INDEX_X_URL": index.root, "ENVPARITY_INDEX_X_USERNAME": USER,
             "ENVPARITY_INDEX_X_PASSWORD": SECRET},
        ]  # fmt: skip
        for environ in ways:
            found = private(index, environ)

            assert isinstance(found, LockedDistribution), environ
            assert SECRET not in str(found)
        assert isinstance(find(Indexes.at(index.with_login)), LockedDistribution)
        assert set(index.logins) == {BASIC}


def test_a_program_that_keeps_passwords_is_asked_where_the_place_refuses(wheel: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "keyring"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho \'{{"username": "{USER}", "password": "{SECRET}"}}\'\n'
    )
    program.chmod(0o755)
    with private_index(wheel) as index:
        found = private(index, {"PATH": f"{program.parent}:/usr/bin:/bin"})

    assert isinstance(found, LockedDistribution)
    assert index.logins == ["", BASIC]
    assert (tmp_path / "asked").read_text().splitlines() == [f"--mode creds --output json get {index.root}"]


@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_place_that_refuses_says_what_to_set_and_no_secret(wheel: Path, fault: str) -> None:
    with private_index(wheel) as index:
        index.fault = fault
        with pytest.raises(UnreachableError, match=fault) as without:
            private(index, {})
        with pytest.raises(UnreachableError, match=fault) as wrong:
            private(index, {"ENVPARITY_INDEX_CORP_USERNAME": USER, "ENVPARITY_INDEX_CORP_PASSWORD": SECRET})

    assert "set ENVPARITY_INDEX_CORP_USERNAME and ENVPARITY_INDEX_CORP_PASSWORD" in without.value.hint
    assert "it does not accept the credentials" in wrong.value.hint
    assert SECRET not in f"{wrong.value} {wrong.value.hint}"


def test_credentials_are_lost_on_a_redirect_to_another_origin(wheel: Path) -> None:
    """CVE-2018-18074: another port is another place, though netrc knows its host only by name."""
    with private_index(wheel) as other, private_index(wheel, elsewhere=other.served.url) as index:
        index.fault = "redirect"
        with pytest.raises(UnreachableError, match="401") as caught:
            find(Indexes.at(index.with_login))

    assert index.logins == [BASIC]
    assert other.logins == [""]
    assert "credentials go to no other host than their own" in caught.value.hint


def test_a_login_of_one_index_does_not_go_to_another(wheel: Path) -> None:
    with private_index(wheel) as one, private_index(wheel) as other:
        environ = {"ENVPARITY_INDEX_ONE_USERNAME": USER, "ENVPARITY_INDEX_ONE_PASSWORD": SECRET}
        with pytest.raises(UnreachableError, match="401"):
            find(indexes((other.root, f"one={one.root}")), environ)

    assert other.logins == [""]


def test_a_challenge_that_names_another_place_is_not_followed(wheel: Path) -> None:
    with private_index(wheel) as other, private_index(wheel, elsewhere=other.served.url) as index:
        index.fault = "hostile realm"
        with pytest.raises(UnreachableError, match="401"):
            find(Indexes.at(index.with_login))

    assert other.logins == []


def test_nothing_is_sent_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine index.example login {USER} password {SECRET}\n")
    logins = Logins({"NETRC": str(tmp_path / "netrc")})

    assert logins.header("https://index.example/simple/demo/", refused=False) == BASIC
    assert logins.header("http://index.example/simple/demo/", refused=True) == ""
    assert logins.header("https://index.example.evil/simple/demo/", refused=False) == ""


def test_of_two_repositories_of_one_host_each_gets_its_own_login() -> None:
    root = "https://repo.example/api/pypi"
    logins = Logins({}, [Index.of(f"{root}/{name}/simple/".replace("//", f"//{name}:{SECRET}@", 1)) for name in "ab"])

    of_a, of_b = (logins.header(f"{root}/{name}/packages/x.whl", refused=False) for name in "ab")

    assert of_a
    assert of_b
    assert of_a != of_b


def test_a_netrc_that_cannot_be_read_is_said_without_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine host login ada passwort {SECRET}\n")
    logins = Logins({"NETRC": str(tmp_path / "netrc")})

    assert logins.header("https://host/", refused=False) == ""
    assert "netrc` cannot be read, line 1" in logins.hint("https://host/")
    assert SECRET not in logins.hint("https://host/")


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [("portal", MalformedError, "without a link to any file"), ("wrong length", UnreachableError, "cannot reach")],
)
def test_a_page_that_is_none_is_told_from_one_that_is_empty(
    wheel: Path, fault: str, error: type[Exception], says: str
) -> None:
    with private_index(wheel) as index:
        index.fault = fault
        with pytest.raises(error, match=says):
            find(Indexes.at(index.with_login))


def test_an_index_that_asks_for_patience_gets_it_within_reason(wheel: Path) -> None:
    page = plain(b"", 404)
    with serving(
        {"/simple/demo/": [plain(b"", 429, retry_after="0"), plain(b"", 503, retry_after="x"), page]}
    ) as served:
        sought = Indexes.at(f"{served.url}/simple/")
        with Client(attempts=3) as client:
            (found,) = find_wheels([DEMO], client=client, indexes=sought, python_version=PYTHON)

    assert isinstance(found, Problem)
    assert len(served.asked) == 3


# what pip and uv are configured with


def test_the_configuration_of_pip_and_uv_is_read_and_its_passwords_are_not(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = https://{USER}:{SECRET}@pip.example/simple\n"
        "extra-index-url =\n    https://one.example/simple\n    https://two.example/simple\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "corp"\nurl = "https://corp.example/simple"\n'
        '[[tool.uv.index]]\nname = "torch"\nurl = "https://torch.example/whl"\nexplicit = true\n'
        '[tool.uv.sources]\nTorch = {index = "torch"}\n'
    )
    found = configured({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "HOME": "/nonexistent"}, tmp_path)
    chosen = indexes(("from-config",), (), found)

    assert [index.url for index in chosen.order] == [
        "https://pip.example/simple/",
        "https://corp.example/simple/",
        "https://one.example/simple/",
        "https://two.example/simple/",
    ]
    assert [index.url for index in chosen.of("torch")] == ["https://torch.example/whl/"]
    assert chosen.unasked == ()


@pytest.mark.parametrize("text", ["[global", "\x00", "[global]\nindex-url = https://[x/\n", "index-url = x"])
def test_a_configuration_that_another_program_could_not_read_is_passed_over(tmp_path: Path, text: str) -> None:
    for name in ("pip.conf", "uv.toml"):
        (tmp_path / name).write_text(text)

    found = configured({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "HOME": "/nonexistent"}, tmp_path)

    assert [index.url for index in found.order] == [PYPI]


@pytest.mark.parametrize(
    ("configuration", "advice"),
    [
        ((), "`--index` names another one"),
        (
            (PYPI,),
            "https://pypi.org/simple/ is not asked, since an address without a name takes its place: `--index NAME=U",
        ),
        ((PYPI, "https://x.example/simple/"), "configured here with https://x.example/simple/: `--index from-config`"),
    ],
)
def test_what_was_not_asked_is_named_where_something_is_missing(configuration: tuple[str, ...], advice: str) -> None:
    """PyPI is what pip asks where nobody configured anything: it is no configuration that could be asked for."""
    with local_index() as index:
        asked = Indexes((Index.of(index.root),), configured=tuple(map(Index.of, configuration)))
        answer = find(asked)

    assert isinstance(answer, Problem)
    assert advice in answer.advice
