"""The JSON of a comparison, and the schema of it that ships."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest
from hypothesis import given

from envparity import resources
from envparity.diff import between
from envparity.report import diff
from envparity.report.document import schema
from envparity.values import Report
from tests.report.hostile import hostile, report_of, texts
from tests.report.test_diff import SERVED, TRAINED

VALIDATOR = jsonschema.Draft202012Validator(json.loads(resources.data("report.schema.json")))


def test_the_shipped_schema_is_the_one_that_the_types_give() -> None:
    assert msgspec.json.decode(resources.data("report.schema.json")) == schema()


@pytest.mark.parametrize("report", [between(TRAINED, SERVED), between(TRAINED, TRAINED), report_of(blocked=True)])
def test_a_report_is_valid_by_it_and_a_damaged_one_is_not(report: Report) -> None:
    """By somebody else's validator: a schema that accepts everything would agree with any report."""
    document = json.loads(diff.json(report))

    assert list(VALIDATOR.iter_errors(document)) == []
    assert list(VALIDATOR.iter_errors([document, document])) == []
    for damage in ({"status": "1"}, {"fail_on": "grave"}, {"findings": [{}]}, {"before": None}):
        assert list(VALIDATOR.iter_errors(document | damage)) != []
    for key in document:
        assert list(VALIDATOR.iter_errors({name: document[name] for name in document if name != key})) != [], key


@given(texts)
def test_whatever_a_name_holds_the_json_is_valid_utf8_json(text: str) -> None:
    VALIDATOR.validate(json.loads(diff.json(hostile(text)).encode("utf-8")))


def test_every_key_that_is_written_is_one_of_the_schema() -> None:
    """A key that the schema does not know is one that no reader was told of."""
    document = json.loads(diff.json(between(TRAINED, SERVED)))
    known = schema()["$defs"]

    assert document.keys() == known["DiffDocument"]["properties"].keys()
    assert document["findings"][0].keys() == known["FindingObject"]["properties"].keys()
