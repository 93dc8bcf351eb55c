"""An MLmodel names flavors, versions and loaders; it is YAML as MLflow writes it."""

import pytest


def test_an_mlmodel_tells_flavors_versions_and_what_loads_it(made, seen):
    found = seen(made("mlflow/MLmodel"), "MLmodel")

    assert (found.form, found.modules) == ("mlflow", {"mlflow.sklearn"})
    assert found.versions == {"mlflow": "2.16.2", "scikit-learn": "1.4.2"}
    assert ["flavor", "sklearn"] in found.fact["properties"]
    assert found.properties["python_version"] == "3.11.7"


def test_names_of_flavors_become_those_of_distributions(seen):
    keys = ("xgb_version", "lgb_version", "pytorch_version", "sentence_transformers_version")
    text = "flavors:\n" + "".join(f"  {key}:\n    {key}: '1.0'\n" for key in keys)

    assert set(seen(text.encode(), "MLmodel").versions) == {"xgboost", "lightgbm", "torch", "sentence-transformers"}


def scalars(text):
    from envparity.collectors.formats.mlflow import scalars

    return list(scalars(text))


def test_nested_mappings_quotes_and_texts_over_several_lines_are_read():
    text = (
        "# comment\na:\n  b: 'it''s\n    one'\n  c: \"two\"\n  list:\n  - x\n  - d: 3\n"
        "plain: text # and comment\n  goes on\nend: null\n"
    )

    assert scalars(text) == [
        (("a",), ""),
        (("a", "b"), "it's one"),
        (("a", "c"), "two"),
        (("a", "list"), ""),
        (("a", "list", "d"), "3"),
        (("plain",), "text"),
        (("end",), "null"),
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"artifact_path: model\n", "it names no flavor"),
        (b"flavors:\n\tsklearn:\n", "it is no YAML: it is indented by tabs"),
        (b"flavors:\n  sklearn:\n    code: 'open\n", "it is cut short"),
        (b"x" * (1 << 20) + b"x", "it is larger than 1048576 bytes"),
        (b"".join(b" " * depth + b"a:\n" for depth in range(200)), "it is nested too deep"),
    ],
)
def test_an_mlmodel_that_says_nothing_is_unread(data, reason, seen):
    assert seen(data, "MLmodel").unread == [reason]


def test_a_signature_of_fifty_kilobytes_is_passed_over(seen):
    text = (
        b"flavors:\n  sklearn:\n    sklearn_version: 1.4.2\nsignature:\n  inputs: '" + b'[{"a": 1}], ' * 5000 + b"'\n"
    )

    assert seen(text, "MLmodel").versions == {"scikit-learn": "1.4.2"}
