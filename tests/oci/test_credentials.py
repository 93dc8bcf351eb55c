"""What `docker login` left is used as it is, and its secret is never shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from envparity.errors import EnvparityError, MalformedError, UnreachableError
from envparity.oci.credentials import DOCKER_HUB, IDENTITY, Login, login_for


def auth(text: str = "ada:s3cret") -> str:
    return base64.b64encode(text.encode()).decode()


def config(folder: Path, document: object) -> dict[str, str]:
    (folder / "config.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:/usr/bin:/bin"}


def helper(folder: Path, text: str) -> None:
    """A credential helper called `test`."""
    program = folder / "docker-credential-test"
    program.write_text("#!/bin/sh\n" + text)
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("reg.example", "reg.example"),
        ("https://reg.example", "reg.example"),
        ("https://reg.example/v2/", "reg.example"),
        ("reg.example:5000", "reg.example:5000"),
        ("https://index.docker.io/v1/", DOCKER_HUB),
        ("docker.io", DOCKER_HUB),
    ],
)
def test_a_login_is_found_under_every_name_that_docker_gives_it(tmp_path: Path, key: str, host: str) -> None:
    environ = config(tmp_path, {"auths": {key: {"auth": auth("ada:s3:cret")}}})

    assert login_for(host, environ) == Login("ada", "s3:cret")


@pytest.mark.parametrize("host", ["reg.example:5001", "evil-reg.example", "example", "reg.example.evil"])
def test_a_login_is_for_the_very_host_that_it_was_given_for(tmp_path: Path, host: str) -> None:
    assert login_for(host, config(tmp_path, {"auths": {"reg.example": {"auth": auth()}}})) is None


def test_without_a_configuration_there_is_no_login(tmp_path: Path) -> None:
    assert login_for("reg.example", {}) is None
    assert login_for("reg.example", {"HOME": str(tmp_path)}) is None
    assert login_for("reg.example", config(tmp_path, {})) is None


def test_the_home_folder_is_where_docker_keeps_it(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    config(tmp_path / ".docker", {"auths": {"reg.example": {"auth": auth()}}})

    assert login_for("reg.example", {"HOME": str(tmp_path)}) == Login("ada", "s3cret")


def test_the_secret_is_in_no_text_that_is_shown() -> None:
    assert "s3cret" not in repr(Login("ada", "s3cret"))


@pytest.mark.parametrize("settings", [{"credsStore": "test"}, {"credHelpers": {"reg.example": "test"}}])
def test_a_helper_is_asked_for_the_host_and_sees_only_what_it_needs(tmp_path: Path, settings: object) -> None:
    helper(
        tmp_path, f'cat > {tmp_path}/asked; env > {tmp_path}/seen; echo \'{{"Username":"ada","Secret":"s3cret"}}\'\n'
    )
    environ = {**config(tmp_path, settings), "AWS_PROFILE": "prod", "GITHUB_TOKEN": "hunter2", "LD_PRELOAD": "/x.so"}

    assert login_for("reg.example", environ) == Login("ada", "s3cret")
    assert (tmp_path / "asked").read_text() == "reg.example"
    assert "AWS_PROFILE=prod" in (tmp_path / "seen").read_text()
    assert "hunter2" not in (tmp_path / "seen").read_text()
    assert "LD_PRELOAD" not in (tmp_path / "seen").read_text()


@pytest.mark.parametrize("settings", [{"auths": {"reg.example": {"identitytoken": "s3cret"}}}, {"credsStore": "test"}])
def test_an_identity_token_is_told_from_a_password(tmp_path: Path, settings: object) -> None:
    helper(tmp_path, 'echo \'{"Username":"<token>","Secret":"s3cret"}\'\n')

    assert login_for("reg.example", config(tmp_path, settings)) == Login(IDENTITY, "s3cret")


def podman(place: Path, **logins: str) -> None:
    """What `podman login` leaves in a file: a user for each key."""
    place.parent.mkdir(parents=True, exist_ok=True)
    auths = {key.replace("_", "/"): {"auth": auth(f"{user}:s3cret")} for key, user in logins.items()}
    place.write_text(json.dumps({"auths": auths}))


def test_podman_s_files_are_read_too_and_the_one_that_is_named_comes_first(tmp_path: Path) -> None:
    """containers-auth.json(5): REGISTRY_AUTH_FILE, the folder of the session, that of the user's settings."""
    home, session, named = tmp_path / "home", tmp_path / "session", tmp_path / "named.json"
    environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(session), "REGISTRY_AUTH_FILE": str(named)}
    podman(home / ".config/containers/auth.json", **{"reg.example": "settings", "other.example": "settings"})
    podman(session / "containers/auth.json", **{"reg.example": "session"})

    assert login_for("other.example", environ) == Login("settings", "s3cret")
    assert login_for("reg.example", environ) == Login("session", "s3cret")
    (home / ".docker").mkdir()
    config(home / ".docker", {"auths": {"reg.example": {"auth": auth("docker:s3cret")}}})
    assert login_for("reg.example", environ) == Login("docker", "s3cret")
    podman(named, **{"reg.example": "named"})
    assert login_for("reg.example", environ) == Login("named", "s3cret")


def test_a_login_of_podman_may_be_for_a_part_of_a_registry(tmp_path: Path) -> None:
    """The most specific one counts; a neighbour's is not ours."""
    named = tmp_path / "named.json"
    podman(named, **{"reg.example": "all", "reg.example_team": "team", "reg.example_team_model": "model"})
    environ = {"REGISTRY_AUTH_FILE": str(named)}

    users = {name: login_for("reg.example", environ, name) for name in ("team/model", "team/other", "teams/model")}

    assert [login.user for login in users.values() if login] == ["model", "team", "all"]


def test_a_helper_that_has_none_is_no_error(tmp_path: Path) -> None:
    helper(tmp_path, "echo credentials not found in native keychain; exit 1\n")

    assert login_for("reg.example", config(tmp_path, {"credsStore": "test"})) is None


@pytest.mark.parametrize(
    ("document", "answer", "error", "says"),
    [
        ("{", "", MalformedError, "not JSON"),
        ("[" * 100_000, "", MalformedError, "not JSON"),
        ("[]", "", MalformedError, "not what `docker login` writes"),
        ({"auths": []}, "", MalformedError, "not what `docker login` writes"),
        ({"auths": {"reg.example": {"auth": "%%%"}}}, "", MalformedError, "is damaged"),
        ({"auths": {"reg.example": {"auth": auth("ada")}}}, "", MalformedError, "no password"),
        ({"credsStore": "../../bin/sh"}, "", MalformedError, "cannot be one"),
        ({"credsStore": "absent"}, "", UnreachableError, "not on PATH"),
        ({"credsStore": "test"}, "echo broken keyring; exit 3", UnreachableError, "status 3"),
        ({"credsStore": "test"}, "echo hello", MalformedError, "does not answer"),
    ],
)
def test_what_can_be_wrong_with_a_login(
    tmp_path: Path, document: object, answer: str, error: type[EnvparityError], says: str
) -> None:
    helper(tmp_path, answer + "\n")

    with pytest.raises(error, match=says) as caught:
        login_for("reg.example", config(tmp_path, document))

    assert "s3cret" not in f"{caught.value}{caught.value.hint}"
