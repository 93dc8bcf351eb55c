"""What boosted trees say of themselves, in the forms of their libraries."""

import pytest


@pytest.mark.parametrize(("name", "form"), [("xgboost.json", "xgboost-json"), ("xgboost.ubj", "xgboost-ubj")])
def test_xgboost_tells_release_objective_and_booster(name, form, made, seen):
    found = seen(made(name), name)

    assert (found.form, found.modules, found.versions) == (form, {"xgboost"}, {"xgboost": "2.1.4"})
    assert (found.properties["objective"], found.properties["booster"]) == ("binary:logistic", "gbtree")
    assert (found.unread, found.not_recorded) == ([], [])


def test_xgboost_is_recognised_without_its_name(made, seen):
    assert seen(made("xgboost.ubj"), "model.bin").form == "xgboost-ubj"


def test_lightgbm_tells_the_version_of_its_form_and_the_objective(made, seen):
    found = seen(made("lightgbm.txt"), "model.txt")

    assert (found.form, found.modules, found.versions) == ("lightgbm", {"lightgbm"}, {})
    assert (found.properties["format_version"], found.properties["objective"]) == ("v4", "binary sigmoid:1")
    assert found.properties["boosting"] == "gbdt"


def test_lightgbm_without_its_last_trees_is_unread(made, seen):
    data = made("lightgbm.txt")

    assert seen(data[: data.index(b"Tree=1")]).unread == ["it is cut short: its last lines are missing"]
    assert seen(data[: data.index(b"end of parameters")]).unread == ["it is cut short: its last lines are missing"]


def test_catboost_tells_its_release_and_objective(made, seen):
    found = seen(made("catboost.cbm"), "model")

    assert (found.form, found.modules, found.versions) == ("catboost", {"catboost"}, {"catboost": "1.2.7"})
    assert (found.properties["objective"], found.properties["boosting"]) == ("Logloss", "Plain")


def test_catboost_tells_nothing_of_who_built_it(made, seen):
    assert "@" not in repr(seen(made("catboost.cbm")).fact)


def test_a_catboost_model_that_points_beyond_its_end_is_unread(seen):
    assert seen(b"CBM1\x08\0\0\0\xff\xff\xff\x7f\0\0\0\0").unread == ["it is cut short, or refers beyond its end"]
    assert seen(b"CBM1\xff\0\0\0" + b"\0" * 8).unread == ["it is cut short"]
