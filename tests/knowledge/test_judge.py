"""Differences -> findings, for a model and without one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from envparity.compare import compare
from envparity.knowledge import judge, parse_rules
from envparity.values import (
    Artifact,
    Basis,
    Cpu,
    Distribution,
    Effect,
    Environment,
    Finding,
    Gap,
    GapKind,
    Numerics,
    Origin,
    OsPackage,
    Python,
    Settings,
    Severity,
    System,
    Variable,
)

TFIDF = "sklearn.feature_extraction.text:TfidfTransformer"
LOGISTIC = "sklearn.linear_model._logistic:LogisticRegression"
COMPILED = ("cp311-cp311-manylinux_2_17_x86_64",)
PURE = ("py3-none-any",)


def model(*classes: str) -> tuple[Artifact, ...]:
    modules = tuple(sorted({name.partition(":")[0] for name in classes}))
    return (Artifact(kind="model", name="m.joblib", size_bytes=1, sha256="a" * 64, classes=classes, modules=modules),)


def environment(*distributions: Distribution, **sections: Any) -> Environment:
    return Environment(origin=Origin(kind="test"), distributions=distributions or None, **sections)


def sklearn(version: str) -> Distribution:
    return Distribution(
        name="scikit-learn", version=version, wheel_tags=COMPILED, requires=("numpy>=1.19", "joblib; extra == 'x'")
    )


def library(name: str, version: str, tags: tuple[str, ...] = COMPILED) -> Distribution:
    return Distribution(name=name, version=version, wheel_tags=tags)


def judged(before: Environment, after: Environment) -> dict[str, Finding]:
    found = judge(before, after, compare(before, after))
    return {finding.difference.item: finding for finding in found}


def test_tfidf_that_loses_its_weights_is_critical_and_silent() -> None:
    before = environment(sklearn("1.4.2"), artifacts=model(TFIDF, LOGISTIC))

    finding = judged(before, environment(sklearn("1.5.2")))["scikit-learn"]

    assert finding.rule == "sklearn-tfidf-idf-lost"
    assert (finding.severity, finding.effect) == (Severity.CRITICAL, Effect.SILENT_NUMERIC)
    assert finding.fix == "serve with scikit-learn 1.4.2, or train again with 1.5.2"
    assert {proof.kind for proof in finding.evidence} == {"measured", "cited"}


def test_the_other_way_it_fails_to_load() -> None:
    before = environment(sklearn("1.5.2"), artifacts=model(TFIDF))

    finding = judged(before, environment(sklearn("1.4.2")))["scikit-learn"]

    assert (finding.rule, finding.effect) == ("sklearn-tfidf-not-fitted", Effect.LOAD_FAILURE)


def test_the_same_change_is_measured_identical_for_a_model_without_tfidf() -> None:
    before = environment(sklearn("1.4.2"), artifacts=model(LOGISTIC, "numpy:ndarray"))

    finding = judged(before, environment(sklearn("1.5.2")))["scikit-learn"]

    assert (finding.severity, finding.rule) == (Severity.INFO, "sklearn-safe-1-4-to-1-5")


def test_a_class_that_was_not_measured_is_not_safe() -> None:
    before = environment(sklearn("1.4.2"), artifacts=model(LOGISTIC, "sklearn.manifold._t_sne:TSNE"))

    finding = judged(before, environment(sklearn("1.5.2")))["scikit-learn"]

    assert (finding.severity, finding.rule) == (Severity.MEDIUM, "")


def test_without_a_model_the_rule_speaks_less_loudly_and_says_why() -> None:
    finding = judged(environment(sklearn("1.4.2")), environment(sklearn("1.5.2")))["scikit-learn"]

    assert finding.severity is Severity.HIGH
    assert "No model was given: pass --model" in finding.reason


def test_a_model_that_says_nothing_of_itself_counts_as_no_model() -> None:
    before = environment(sklearn("1.4.2"), artifacts=model())

    assert judged(before, environment(sklearn("1.5.2")))["scikit-learn"].severity is Severity.HIGH


def test_a_model_that_does_not_say_all_gives_no_distribution_leave_to_differ() -> None:
    """An ONNX file names its exporter and not its runtime, whose change is what moves the answers."""
    onnx = Artifact(name="m.onnx", size_bytes=1, sha256="a" * 64, format="onnx", versions=(("skl2onnx", "1.17.0"),))
    gap = Gap("artifacts", GapKind.NOT_RECORDED, "it does not say what loads it", "m.onnx")
    after = environment(library("onnxruntime", "1.20.0"))
    without = environment(library("onnxruntime", "1.19.0"))

    silent = judged(without, after)["onnxruntime"].severity
    for artifacts in ((onnx,), (msgspec.structs.replace(onnx, modules=("numpy",)),)):
        before = environment(library("onnxruntime", "1.19.0"), artifacts=artifacts, gaps=(gap,))
        assert judged(before, after)["onnxruntime"].severity == silent


def test_a_declared_range_that_forces_the_change_meets_the_rule() -> None:
    before = environment(sklearn("1.4.2"), artifacts=model(TFIDF))
    after = environment(Distribution(name="scikit-learn", basis=Basis.DECLARED, specifier=">=1.5,<2"), open=True)

    assert judged(before, after)["scikit-learn"].rule == "sklearn-tfidf-idf-lost"


def test_the_most_severe_rule_speaks_and_names_the_others() -> None:
    before = environment(library("pandas", "2.3.3"))

    finding = judged(before, environment(library("pandas", "3.0.6")))["pandas"]

    assert finding.rule == "pandas-3-datetime-resolution"
    assert set(finding.also) >= {"pandas-3-copy-on-write", "pandas-3-groupby-observed", "pandas-3-string-dtype"}


def test_feature_code_outside_the_model_is_warned_of_less_loudly() -> None:
    before = environment(library("pandas", "2.3.3"), sklearn("1.5.2"), artifacts=model(LOGISTIC))
    after = environment(library("pandas", "3.0.6"), sklearn("1.5.2"))

    assert judged(before, after)["pandas"].severity is Severity.MEDIUM


@pytest.mark.parametrize(
    ("before", "after", "severity"),
    [
        (library("torch", "1.13.0"), library("torch", "2.0.0"), Severity.HIGH),
        (library("somelib", "1.1"), library("somelib", "1.2"), Severity.MEDIUM),
        (library("somelib", "1.1", PURE), library("somelib", "1.2", PURE), Severity.LOW),
        (library("somelib", "1.1.1", PURE), library("somelib", "1.1.2", PURE), Severity.INFO),
        (library("pytest", "7.0", PURE), library("pytest", "9.0", PURE), Severity.INFO),
    ],
)
def test_the_general_order_without_a_model(before: Distribution, after: Distribution, severity: Severity) -> None:
    assert judged(environment(before), environment(after))[before.name].severity is severity


def test_the_general_order_knows_what_the_model_needs() -> None:
    """A library that the model's own libraries need counts for more than one that lies beside it."""
    before = environment(sklearn("1.5.2"), library("numpy", "2.1.0"), library("lxml", "5.1"), artifacts=model(LOGISTIC))
    after = environment(sklearn("1.5.2"))

    found = judged(before, after)

    assert (found["numpy"].severity, found["numpy"].effect) == (Severity.HIGH, Effect.LOAD_FAILURE)
    assert found["lxml"].severity is Severity.MEDIUM


def test_a_library_that_the_model_names_and_that_is_gone_is_critical() -> None:
    before = environment(sklearn("1.5.2"), library("numpy", "2.1.0"), artifacts=model(LOGISTIC))

    assert judged(before, environment(library("numpy", "2.1.0")))["scikit-learn"].severity is Severity.CRITICAL


def test_what_is_unknown_is_never_judged_to_be_equal() -> None:
    before = environment(sklearn("1.5.2"))
    after = environment(open=True, python=None)

    (finding,) = judge(before, after, compare(before, after))

    assert (finding.severity, finding.effect) == (Severity.INFO, Effect.UNKNOWN)
    assert "neither equal nor different" in finding.reason


def test_vnni_matters_where_onnxruntime_is_installed_and_only_there() -> None:
    def pair(*distributions: Distribution) -> tuple[Environment, Environment]:
        return (
            environment(*distributions, cpu=Cpu(flags=("avx2", "avx512_vnni"))),
            environment(*distributions, cpu=Cpu(flags=("avx2",))),
        )

    assert judged(*pair(library("onnxruntime", "1.20")))["cpu"].rule == "cpu-vnni-int8"
    assert judged(*pair(library("numpy", "2.0")))["cpu"].rule == ""


def test_an_old_glibc_boundary_is_named_and_a_new_one_is_not() -> None:
    def libc(version: str) -> Environment:
        return environment(system=System(libc="glibc", libc_version=version))

    assert judged(libc("2.27"), libc("2.28"))["system"].rule == "glibc-2-28-libm"
    newer = judged(libc("2.36"), libc("2.41"))["system"]
    assert (newer.rule, newer.severity) == ("", Severity.MEDIUM)


def test_pickled_functions_are_bound_to_the_python_release_line() -> None:
    def python(version: str) -> Environment:
        artifacts = model("cloudpickle.cloudpickle:_make_function")
        return environment(python=Python(version=version), artifacts=artifacts)

    assert judged(python("3.11.7"), python("3.12.1"))["python"].rule == "python-code-objects"
    assert judged(python("3.11.2"), python("3.11.7"))["python"].severity is Severity.LOW


@pytest.mark.parametrize(
    ("name", "before", "after", "severity"),
    [
        ("adduser", "3.134-1", "3.134-1+deb12u1", Severity.INFO),
        ("adduser", "3.134", "3.152", Severity.MEDIUM),
        ("libgomp1", "12.2.0-14", "12.2.0-14+deb12u1", Severity.MEDIUM),
    ],
)
def test_a_system_package_is_judged_by_its_upstream_version(
    name: str, before: str, after: str, severity: Severity
) -> None:
    def system(version: str) -> Environment:
        return environment(os_packages=(OsPackage(name=name, version=version),))

    assert judged(system(before), system(after))[name].severity is severity


def test_variables_that_steer_numbers_come_before_others() -> None:
    def variables(**values: str) -> Environment:
        return environment(settings=Settings(variables=tuple(Variable(*pair) for pair in sorted(values.items()))))

    found = judged(variables(OPENBLAS_CORETYPE="Haswell", LANG="C"), variables(OPENBLAS_CORETYPE="Prescott", LANG="de"))

    assert found["OPENBLAS_CORETYPE"].rule == "openblas-coretype"
    assert found["LANG"].severity is Severity.LOW


def test_what_the_model_needs_is_followed_through_conditions_and_not_through_extras() -> None:
    needs = (
        "threadpoolctl>=1.19",
        "joblib; extra == 'x'",
        "tomli; python_version < '3.11'",
        "colorama; os_name == 'nt'",
        "wrapt ;",
    )
    learn = Distribution(name="scikit-learn", version="1.4.2", wheel_tags=COMPILED, requires=needs)
    names = ("threadpoolctl", "joblib", "tomli", "colorama", "wrapt")
    before, after = (
        environment(
            learn,
            *(library(name, version, PURE) for name in names),
            artifacts=model(LOGISTIC),
            python=Python(version="3.11.7", implementation="cpython"),
            system=System(os="linux", machine="x86_64"),
        )
        for version in ("1.0.0", "2.0.0")
    )

    found = judged(before, after)

    needed = {name for name in names if "own libraries need" in found[name].reason}
    assert needed == {"threadpoolctl", "wrapt"}


def test_a_condition_that_nobody_can_decide_counts() -> None:
    learn = Distribution(name="scikit-learn", version="1.4.2", requires=("tomli; python_version < '3.11'",))
    before, after = (
        environment(learn, library("tomli", v, PURE), artifacts=model(LOGISTIC)) for v in ("1.0.0", "2.0.0")
    )

    assert "own libraries need" in judged(before, after)["tomli"].reason


def test_a_library_under_another_name_is_judged_by_what_it_is_to_the_model() -> None:
    headless = Distribution(
        name="opencv-python-headless", version="4.10.0.84", wheel_tags=COMPILED, import_names=("cv2",)
    )
    before = environment(library("opencv-python", "4.10.0.84"), artifacts=model("cv2.ml:SVM"))

    finding = judged(before, environment(headless))["opencv-python"]

    assert (finding.severity, finding.rule) == (Severity.MEDIUM, "")
    assert finding.fix == "install opencv-python, as the model had it"


IMAGES = parse_rules(
    b"""
rules:
  - id: pillow-resize-changed
    title: Images are resized otherwise
    when: {distribution: pillow, direction: upgrade, before: "<7", after: ">=7"}
    effect: silent-numeric
    severity: critical
    reason: Images are resized otherwise.
    evidence: [{kind: measured, gist: all pixels differ, read_on: "2026-11-26"}]
    example: {before: 6.2.0, after: 7.0.0}
    counterexample: {before: 7.0.0, after: 7.1.0}
""",
    "rules",
)


@pytest.mark.parametrize(
    ("artifacts", "loaded", "severity"),
    [
        (model(LOGISTIC), None, Severity.MEDIUM),
        (model(LOGISTIC), False, Severity.MEDIUM),
        (model(LOGISTIC), True, Severity.CRITICAL),
        (model("PIL.Image:Image"), None, Severity.CRITICAL),
        ((), None, Severity.CRITICAL),
    ],
    ids=["not referred to", "not loaded", "loaded", "referred to", "no model"],
)
def test_a_rule_about_a_library_that_the_model_does_not_need_says_medium_at_most(artifacts, loaded, severity) -> None:
    before, after = (
        environment(
            Distribution(name="pillow", version=version, wheel_tags=COMPILED, import_names=("PIL",), loaded=loaded),
            sklearn("1.4.2"),
            artifacts=artifacts,
        )
        for version in ("6.2.0", "7.0.0")
    )

    (finding,) = judge(before, after, compare(before, after), rules=IMAGES)

    assert (finding.severity, finding.rule) == (severity, "pillow-resize-changed")
    assert ("does not refer to it" in finding.reason) == (severity is Severity.MEDIUM)


def test_a_rule_speaks_of_the_whole_family_of_its_distribution() -> None:
    rule = msgspec.structs.replace(IMAGES[0], when=msgspec.structs.replace(IMAGES[0].when, distribution="onnxruntime"))
    before, after = (environment(library("onnxruntime-gpu", version)) for version in ("6.2.0", "7.0.0"))

    (finding,) = judge(before, after, compare(before, after), rules=(rule,))

    assert finding.rule == "pillow-resize-changed"


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("torch.get_num_threads", Severity.LOW),
        ("tensorflow.config.threading.get_intra_op_parallelism_threads", Severity.LOW),
        ("torch.backends.cudnn.allow_tf32", Severity.MEDIUM),
    ],
)
def test_another_number_of_threads_is_no_more_as_a_switch_than_as_a_fact_of_a_library(
    name: str, severity: Severity
) -> None:
    before, after = (environment(numerics=Numerics(switches=(Variable(name, value),))) for value in "12")

    assert judged(before, after)[name].severity is severity


TFIDF_MODEL = ("sklearn.feature_extraction.text:TfidfVectorizer", TFIDF)
HIST = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting:HistGradientBoostingClassifier"


@pytest.mark.parametrize(
    ("classes", "name", "before", "after", "severity", "effect"),
    [
        (TFIDF_MODEL, "scikit-learn", "1.4.2", "1.5.2", Severity.CRITICAL, Effect.SILENT_NUMERIC),
        (TFIDF_MODEL, "scikit-learn", "1.5.2", "1.4.2", Severity.CRITICAL, Effect.LOAD_FAILURE),
        ((LOGISTIC,), "scikit-learn", "1.4.2", "1.5.2", Severity.INFO, Effect.COSMETIC),
        (
            ("sklearn.ensemble._weight_boosting:AdaBoostClassifier",),
            *("scikit-learn", "1.5.2", "1.6.1", Severity.CRITICAL, Effect.SILENT_NUMERIC),
        ),
        (
            ("sklearn.tree._classes:DecisionTreeClassifier", "sklearn.tree._tree:Tree"),
            *("scikit-learn", "1.2.2", "1.3.2", Severity.CRITICAL, Effect.LOAD_FAILURE),
        ),
        ((HIST,), "scikit-learn", "1.3.2", "1.5.2", Severity.CRITICAL, Effect.LOAD_FAILURE),
        ((HIST,), "scikit-learn", "1.6.1", "1.7.2", Severity.INFO, Effect.COSMETIC),
        (("xgboost.sklearn:XGBClassifier",), "xgboost", "1.4.2", "1.5.0", Severity.CRITICAL, Effect.LOAD_FAILURE),
        (("torch._utils:_rebuild_tensor_v2",), "torch", "2.5.1", "2.6.0", Severity.HIGH, Effect.LOAD_FAILURE),
    ],
)
def test_the_changes_that_everybody_asks_about_are_judged_as_they_were_measured(
    classes: tuple[str, ...], name: str, before: str, after: str, severity: Severity, effect: Effect
) -> None:
    trained = environment(library(name, before), library("tqdm", "4.66.0", PURE), artifacts=model(*classes))
    served = environment(library(name, after), library("tqdm", "4.66.1", PURE))

    first = judge(trained, served, compare(trained, served))[0]

    if severity is Severity.INFO:
        assert {finding.severity for finding in judge(trained, served, compare(trained, served))} == {Severity.INFO}
    else:
        assert (first.difference.item, first.severity, first.effect) == (name, severity, effect)
