"""Which code a lock says that trained: for strangers to read, so nothing of the training host or of a login."""

from __future__ import annotations

import pytest

from envparity.locking.code import code
from envparity.values import LockedCode, SourceCode
from tests.values import training

COMMIT = "a1" * 20


def url_of(remote: str) -> str:
    found = code(training(source_code=SourceCode(remote=remote, commit=COMMIT)))
    assert found is not None
    return found.url


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/team/tickets.git", "https://github.com/team/tickets"),
        ("git@github.com:team/tickets.git", "https://github.com/team/tickets"),
        ("ssh://git@gitlab.com/team/sub/tickets.git", "https://gitlab.com/team/sub/tickets"),
        ("git@git.example:team/tickets.git", "ssh://git@git.example/team/tickets.git"),
        ("ssh://git@git.example:2222/team/tickets.git", "ssh://git@git.example:2222/team/tickets.git"),
        ("https://git.example:8443/tickets.git", "https://git.example:8443/tickets.git"),
        ("https://ada:canary@git.example/tickets.git", "https://git.example/tickets.git"),
        ("https://canary@git.example/tickets.git", "https://git.example/tickets.git"),
        ("https://ada:ca/nary@git.example/tickets.git", ""),
        ("https://git.example/tickets.git?private_token=canary", ""),
        ("ada:canary@git.example:tickets.git", ""),
        ("https://${USER}@git.example/tickets.git", ""),
        ("/home/ada/tickets.git", ""),
        ("file:///home/ada/tickets.git", ""),
        ("../tickets", ""),
        ("ext::sh -c canary", ""),
        ("https://git.example:99999/tickets.git", ""),
        ("https://git.example/tick\x1bets.git", ""),
        ("", ""),
    ],
)
def test_a_repository_is_named_by_an_address_that_others_reach(remote: str, url: str) -> None:
    assert url_of(remote) == url


def test_a_work_tree_that_differed_from_its_commit_is_said_to() -> None:
    """Whoever checks the commit out would take it for the code that trained."""
    revisions = {
        dirty: found.revision
        for dirty in (True, False, None)
        if (found := code(training(source_code=SourceCode(commit=COMMIT, dirty=dirty)))) is not None
    }

    assert revisions == {True: f"{COMMIT}-dirty", False: COMMIT, None: COMMIT}


def test_what_is_no_commit_is_none_and_where_nothing_is_known_nothing_is_said() -> None:
    assert code(training()) is None
    assert code(training(source_code=SourceCode(commit="HEAD", dirty=True))) is None
    remote = SourceCode(remote="https://git.example/x.git", commit="HEAD", dirty=True)
    assert code(training(source_code=remote)) == LockedCode(url="https://git.example/x.git")
