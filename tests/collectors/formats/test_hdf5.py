"""Keras's older files are HDF5: the attributes of the root say what is needed."""

import pytest


def test_a_keras_model_in_hdf5_tells_release_backend_and_classes(made, seen):
    found = seen(made("sequential.h5"), "model")

    assert (found.form, found.versions, found.properties) == ("keras-hdf5", {"keras": "3.6.0"}, {"backend": "numpy"})
    assert "keras.initializers:GlorotUniform" in found.classes
    assert "it has classes that other code must register: mine>Own" in found.not_recorded


def test_the_newer_form_of_hdf5_is_read_too(made, seen):
    found = seen(made("latest.h5"), "model.h5")

    assert (found.form, found.versions) == ("keras-hdf5", {"keras": "2.15.0"})
    assert found.properties == {"backend": "tensorflow"}


def test_weights_alone_are_said_to_lack_their_configuration(made, seen):
    assert "it holds weights without the configuration of their model" in seen(made("latest.h5")).not_recorded


def test_an_hdf5_file_that_no_keras_wrote_says_so(made, seen):
    found = seen(made("sequential.h5").replace(b"keras_version", b"karas_version"))

    assert (found.form, found.modules) == ("hdf5", set())
    assert found.not_recorded == ["an HDF5 file that no Keras wrote: what it needs is not read"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89HDF\r\n\x1a\n\x09", "its superblock has the version 9, which is not known"),
        (b"\x89HDF\r\n\x1a\n\x00" + b"\0" * 200, "its superblock is damaged"),
        (b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00" + b"\xff" * 40, "it is cut short"),
        (b"not HDF5 at all", "it is no HDF5 file"),
    ],
)
def test_a_damaged_hdf5_file_says_what_is_wrong(data, reason, seen):
    assert seen(data, "m.h5").unread == [reason]
