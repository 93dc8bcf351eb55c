import gc
import os
import resource
import signal
from pathlib import Path

import pytest

from envparity.collectors.distributions import Reading, distributions
from envparity.collectors.halves import Halves
from envparity.collectors.tree import LocalTree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

ITEMS = list(range(101))
HERE = os.getpid()


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def test_the_answers_stand_in_the_order_of_the_items_and_half_of_them_come_from_another_process():
    answers = Halves(ITEMS, lambda item: [item, os.getpid()]).results()
    assert [item for item, _ in answers] == ITEMS
    assert [process == HERE for _, process in answers] == [item < 50 for item in ITEMS]


def test_few_items_or_one_core_start_no_process(monkeypatch):
    assert set(Halves(ITEMS[:10], lambda _: os.getpid()).results()) == {HERE}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert set(Halves(ITEMS, lambda _: os.getpid()).results()) == {HERE}


def test_what_a_killed_process_did_not_answer_is_done_here():
    def work(item):
        if os.getpid() != HERE and item == 90:
            os._exit(9)
        return item * 2

    halves = Halves(ITEMS, work)
    assert halves.results() == [item * 2 for item in ITEMS]
    with pytest.raises(ChildProcessError):
        os.waitpid(halves.child, os.WNOHANG)  # nothing is left of it


def test_that_the_end_of_children_is_ignored_changes_nothing():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert Halves(ITEMS, str).results() == [str(item) for item in ITEMS]
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_answer_that_is_no_json_is_made_again_here():
    assert Halves(ITEMS, lambda item: {item}).results() == [{item} for item in ITEMS]


def test_where_no_process_can_be_had_all_is_done_here(monkeypatch):
    def refused():
        raise OSError(resource.RLIMIT_NPROC, "no more processes")

    monkeypatch.setattr(os, "fork", refused)
    gc.collect()
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    assert Halves(ITEMS, str).results() == [str(item) for item in ITEMS]
    assert {path.name for path in Path("/proc/self/fd").iterdir()} <= before


def test_a_folder_read_by_two_processes_gives_the_same_facts_as_by_one(tmp_path):
    for number in range(60):
        package, info = tmp_path / f"lib{number}", tmp_path / f"lib{number}-1.{number}.dist-info"
        package.mkdir()
        info.mkdir()
        (package / "__init__.py").write_text("")
        if number % 20 == 0:
            continue  # one without metadata
        (info / "METADATA").write_text(f"Name: lib{number}\nVersion: 1.{number}\nRequires-Dist: lib{number - 1}\n\n")
        (info / "RECORD").write_text(
            f"lib{number}/__init__.py,sha256=x,0\nlib{number}.libs/libopenblas-r0.3.{number}.so,,\n{info.name}/RECORD,,\n"
            + ("start.pth,,\n" if number == 59 else "")
        )
    (tmp_path / "start.pth").write_text("import lib1\n")
    (tmp_path / os.fsdecode(b"\xff-1.dist-info")).mkdir()
    tree, folder = LocalTree(), str(tmp_path)
    one, two = [], []
    halved = Reading(tree, [folder], halved=True)
    assert halved.halves[folder].child
    facts = list(distributions(tree, [folder], natives=one))
    assert list(distributions(tree, [folder], natives=two, reading=halved)) == facts
    assert one == two
    assert sum(fact["kind"] == "distribution" for fact in facts) == len(one) == 57
    assert [fact["name"] for fact in facts if fact.get("startup")] == ["lib59"]
