"""torch.save before 1.6 wrote several pickles, and the tensors after them."""


def test_an_old_torch_file_is_read_to_its_last_tensor(made, seen):
    data = made("state.legacy.pt")
    found = seen(data, "m.pt")

    assert (found.form, found.unread, found.not_recorded) == ("torch-legacy", [], [])
    assert "torch:FloatStorage" in found.classes
    assert seen(data[:-1]).unread == [f"it is cut short, after {len(data) - 1} bytes"]
    assert seen(data + b"x").unread == ["bytes follow its end"]


def test_storages_of_an_unknown_size_are_said_to_be_not_read(made, seen):
    found = seen(made("state.legacy.pt").replace(b"FloatStorage", b"OtherStorage"))

    assert found.not_recorded == ["the tensors that torch wrote after the pickles were not read"]
