"""ZIP files are told apart by what is in them."""

import io
import zipfile

import pytest


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_the_state_of_a_torch_model_refers_to_torch_and_its_tensors_are_known(made, seen):
    found = seen(made("state.pt"), "weights.bin")

    assert found.form == "torch"
    assert found.classes == {"collections:OrderedDict", "torch._utils:_rebuild_tensor_v2", "torch:FloatStorage"}
    assert (found.properties["device"], found.properties["format_version"]) == ("cpu", "3")
    assert found.not_recorded == []


def test_a_whole_torch_model_names_the_classes_of_its_layers(made, seen):
    assert "torch.nn.modules.linear:Linear" in seen(made("whole.pt")).classes


def test_classes_that_torchscript_carries_itself_are_no_need_of_it(made, seen):
    """A pre-flight that looks for a module `__torch__` in the lock would refuse every TorchScript model."""
    found = seen(made("script.pt"))

    assert (found.form, found.unread, found.not_recorded) == ("torchscript", [], [])
    assert "torch" in found.modules
    assert not [name for name in found.modules if name.startswith("__torch__")]


def test_a_keras_model_names_its_release_and_the_modules_of_its_layers(made, seen):
    found = seen(made("sequential.keras"))

    assert (found.form, found.versions) == ("keras", {"keras": "3.6.0"})
    assert {"keras.layers:Dense", "keras.initializers:GlorotUniform"} <= found.classes
    assert "it has classes that other code must register: mine>Own" in found.not_recorded
    assert "it does not say which backend of Keras computes it" in found.not_recorded


def test_a_lambda_layer_is_code_by_value(seen):
    layer = '{"module": "keras.layers", "class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}'
    found = seen(zipped({"metadata.json": "{}", "config.json": layer}))

    assert [reason for reason in found.not_recorded if reason.startswith("it carries code by value")]


def test_a_skops_file_names_types_at_every_depth_and_the_releases_that_wrote_it(made, seen):
    found = seen(made("pipeline.skops"))

    assert (found.form, found.versions) == ("skops", {"skops": "0.10.0", "scikit-learn": "1.4.2"})
    assert {"sklearn.pipeline:Pipeline", "sklearn.linear_model._logistic:LogisticRegression"} <= found.classes
    assert {"numpy", "skops"} <= found.modules


def test_a_zip_of_no_known_kind_says_so_and_archives_in_it_stay_closed(seen):
    found = seen(zipped({"inner.zip": zipped({"archive/data.pkl": b"cos\nsystem\n."})}))

    assert (found.form, found.classes, found.unread) == ("zip", set(), [])
    assert "it holds archives, which are not opened" in found.not_recorded


def test_bytes_after_the_pickle_of_a_torch_model_are_unread(seen):
    assert seen(zipped({"a/data.pkl": b"\x80\x02N.more"})).unread == ["bytes follow the end of its pickle"]


def test_a_persistent_id_that_is_no_tensor_of_torch_lies_outside_the_file(seen):
    assert seen(zipped({"a/data.pkl": b"\x80\x02K\x07Q."})).not_recorded == [
        "it refers to objects outside the file (persistent ids)"
    ]


def test_an_exported_program_says_that_its_graph_is_not_read(seen):
    found = seen(zipped({"m/archive_format": "pt2", "m/models/model.json": "{}"}))

    assert (found.form, found.modules) == ("torch-export", {"torch"})
    assert found.not_recorded


@pytest.mark.parametrize("name", ["metadata.json", "config.json"])
def test_a_keras_model_whose_papers_are_damaged_is_unread(name, seen):
    found = seen(zipped({"metadata.json": "{}", "config.json": "{}", name: '{"a": '}))

    assert found.unread == ["it is cut short"]
