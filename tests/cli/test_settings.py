"""Settings, policies, baselines and rules, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import envparity, refused

RULE = """\
rules:
  - id: acme-scorer-rounding
    title: The scorer rounds otherwise
    when: {distribution: acme-scorer, direction: upgrade, before: "<2", after: ">=2"}
    effect: silent-numeric
    severity: critical
    reason: "Scores are rounded before they are added."
    fix: "use acme-scorer {before}"
    evidence: [{kind: measured, gist: "7 of 100 scores differ", read_on: "2026-11-26"}]
    example: {before: "1.9", after: "2.0"}
    counterexample: {before: "1.8", after: "1.9"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dev.txt").write_text("scikit-learn==1.4.2\nacme-scorer==1.9\n")
    (tmp_path / "prod.txt").write_text("scikit-learn==1.5.2\nacme-scorer==2.0\n")
    (tmp_path / ".git").mkdir()
    envparity("init", "--target", "prod=prod.txt", "--target", "same=dev.txt", "--policy", "parity.yaml", cwd=tmp_path)
    return tmp_path


def test_init_writes_settings_that_work_at_once_and_does_not_write_over_them(project: Path) -> None:
    done = envparity("diff", "dev.txt", "--format", "json", cwd=project, status=1)

    told = json.loads(done.stdout)
    assert (told["before"]["label"], told["after"]["label"]) == ("dev.txt", "prod")
    before = (project / "envparity.yaml").read_bytes()
    refused("init", "--target", "prod=other.txt", status=2, says="here already", cwd=project)
    assert (project / "envparity.yaml").read_bytes() == before
    envparity("init", "--force", "--target", "prod=other.txt", cwd=project)
    assert (project / "envparity.yaml").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--target", "prod"), "no target"),
        (("--target", "=x"), "no target"),
        (("--target", "a b=x"), "not valid"),
        (("--default", "prod"), "none of the targets"),
    ],
)
def test_what_init_cannot_write_it_refuses(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    refused("init", *arguments, status=4 if says == "not valid" else 2, says=says, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_target_is_a_source_for_every_command_and_from_every_folder_of_the_repository(project: Path) -> None:
    below = project / "src"
    below.mkdir()

    assert "1.5.2" in envparity("show", "prod", cwd=below).stdout
    assert envparity("diff", "../dev.txt", "same", cwd=below).returncode == 0
    assert envparity("diff", "../dev.txt", "prod", "same", cwd=below, status=1).stdout.count("DIFFERENT") == 1


def test_a_bare_diff_compares_the_active_environment_with_the_default_target(project: Path) -> None:
    done = envparity("diff", "--format", "json", cwd=project, status=None)

    told = json.loads(done.stdout)
    assert told["after"]["label"] == "prod"
    assert told["before"]["label"].partition(":")[0] in {"venv", "python", "conda"}


def test_without_settings_a_diff_must_name_its_target(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text("numpy==1\n")
    refused("diff", "dev.txt", status=2, says="no RIGHT is named", cwd=tmp_path)


def test_a_flag_is_stronger_than_a_variable_and_that_than_the_policy_and_the_file(project: Path) -> None:
    (project / "parity.yaml").write_text("fail_on: critical\n")
    settings = (project / "envparity.yaml").read_text()
    compare = ("diff", "dev.txt", "prod")

    assert envparity(*compare, cwd=project, status=0)
    assert envparity(*compare, cwd=project, status=1, ENVPARITY_DIFF_FAIL_ON="high")
    assert envparity(*compare, "--fail-on", "critical", cwd=project, status=0, ENVPARITY_DIFF_FAIL_ON="high")
    (project / "envparity.yaml").write_text(
        settings.replace("policy:", "# ") + "options: {diff: {fail-on: critical}}\n"
    )
    assert envparity(*compare, cwd=project, status=0)
    assert envparity(*compare, cwd=project, status=1, ENVPARITY_DIFF_FAIL_ON="high")


def test_a_variable_is_called_as_its_option_is_typed(project: Path) -> None:
    """Click would name it by our own word for it, and nobody reads that `--add` is `added` inside."""
    lock = ("lock", "dev.txt", "--base", "debian:bookworm")

    refused(*lock, status=2, says="`--add` of a file that another tool", cwd=project, ENVPARITY_LOCK_ADD="rich")
    refused(
        *lock, status=2, says="`--leave-out No.such` names nothing", cwd=project, ENVPARITY_LOCK_LEAVE_OUT="No.such"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("options: {lock: {require: most}}", "envparity.yaml is not valid: 'most' is not one of 'proven', 'matched'."),
        ("options: {lock: {bundle: maybe}}", "envparity.yaml is not valid: 'maybe' is not a valid boolean"),
        ("options: {lock: {base: [debian:bookworm]}}", "envparity.yaml is not valid: `--base` takes one value"),
    ],
)
def test_a_value_that_is_none_is_told_where_it_stands(project: Path, text: str, says: str) -> None:
    (project / "envparity.yaml").write_text(text)
    done = refused("lock", "dev.txt", status=4, says=says, cwd=project)

    assert f"(at options.lock.{text.split('{')[2].partition(':')[0]})" in done.stderr


def test_a_value_of_a_variable_is_told_by_its_name(project: Path) -> None:
    done = refused("lock", "dev.txt", status=2, says="'most' is not", cwd=project, ENVPARITY_LOCK_REQUIRE="most")

    assert "hint: it is the value of the variable ENVPARITY_LOCK_REQUIRE; see `envparity lock --help`" in done.stderr
    typed = refused("lock", "dev.txt", "--require", "most", status=2, says="'most' is not", cwd=project)
    assert "hint: see `envparity lock --help`" in typed.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("options: {diff: {fial-on: high}}", "`diff` has no option `--fial-on`"),
        ("options: {dif: {fail-on: high}}", "there is no command `dif`"),
        ("targts: {}", "targts"),
    ],
)
def test_a_typo_in_the_settings_is_an_error_of_every_command_that_reads_them(
    project: Path, text: str, says: str
) -> None:
    (project / "envparity.yaml").write_text(text)
    refused("diff", "dev.txt", "prod.txt", status=4, says=says, cwd=project)
    assert envparity("--help", cwd=project)


def test_a_policy_a_baseline_and_new_findings_end_as_they_should(project: Path) -> None:
    (project / "parity.yaml").write_text(
        "ignore: [{rule: sklearn-tfidf-idf-lost, reason: no text features, owner: ml, until: '2099-01-31'}]\n"
    )
    assert "no text features" in envparity("diff", "dev.txt", "prod", cwd=project).stdout
    (project / "parity.yaml").write_text("baseline: accepted.json\n")
    refused("diff", "dev.txt", "prod", status=2, says="accepted.json", cwd=project)
    (project / "parity.yaml").write_text("")
    envparity("diff", "dev.txt", "prod", "--write-baseline", "accepted.json", cwd=project)
    envparity("diff", "dev.txt", "prod", status=1, cwd=project)
    envparity("diff", "dev.txt", "prod", "--baseline", "accepted.json", cwd=project)
    (project / "prod.txt").write_text("scikit-learn==1.6.1\nacme-scorer==2.0\n")
    envparity("diff", "dev.txt", "prod", "--baseline", "accepted.json", status=1, cwd=project)


def test_a_rule_of_a_team_judges_beside_those_that_ship_and_is_explained(project: Path) -> None:
    (project / "rules.yaml").write_text(RULE)
    settings = project / "envparity.yaml"
    settings.write_text(settings.read_text() + "knowledge: [rules.yaml]\n")

    told = json.loads(envparity("diff", "dev.txt", "prod", "--format", "json", cwd=project, status=1).stdout)
    assert [told["findings"][0][key] for key in ("rule", "severity", "fix")] == [
        "acme-scorer-rounding",
        "critical",
        "use acme-scorer 1.9",
    ]
    assert "7 of 100 scores differ" in envparity("explain", "acme-scorer-rounding", cwd=project).stdout
    assert "acme-scorer-rounding" in envparity("rules", "acme", cwd=project).stdout
    (project / "rules.yaml").write_text(RULE.replace("acme-scorer-rounding", "sklearn-tfidf-idf-lost"))
    refused("rules", status=4, says="two rules with the id `sklearn-tfidf-idf-lost`", cwd=project)


def test_a_rule_that_is_not_there_is_refused_and_the_nearest_is_named(tmp_path: Path) -> None:
    done = refused("explain", "sklearn-tfidf-idf-last", status=2, says="there is no rule", cwd=tmp_path)
    assert "sklearn-tfidf-idf-lost" in done.stderr


def test_a_folder_of_snapshots_is_compared_with_one_target(project: Path) -> None:
    for name in ("dev", "prod"):
        (project / "models" / name).mkdir(parents=True)
        envparity("snapshot", f"{name}.txt", "-o", f"models/{name}/m.env.json", cwd=project)

    done = envparity("diff", "--many", "models", "prod", cwd=project, status=1)
    assert done.stdout.startswith("1 of 2 snapshots may be served there\n")
    assert envparity("diff", "--many", "models", cwd=project, status=1).stdout == done.stdout, "the default target"
    refused("diff", "--many", "absent", "prod", status=2, says="no *.env.json below", cwd=project)
    refused("diff", "--many", "models", "prod", "same", status=2, says="takes one target", cwd=project)
