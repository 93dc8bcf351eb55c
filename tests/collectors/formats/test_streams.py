"""A stream that cannot be sought keeps both its ends, and says where it cannot help."""

import io
import zipfile


def torch_like(middle):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02ccollections\nOrderedDict\n.")
        archive.writestr("a/data/0", b"\0" * middle)
    return file.getvalue()


def test_a_large_torch_model_is_read_from_the_ends_of_a_stream(pipe):
    """The pickle comes first, the directory last; the tensors between them may be of any size."""
    from envparity.collectors.models import Limits, model

    data = torch_like(10 << 20)
    fact, *gaps = model(pipe(data), "m.pt", limits=Limits(held_bytes=1 << 20))

    assert (fact["format"], fact["classes"], gaps) == ("torch", ["collections:OrderedDict"], [])
    assert fact["size_bytes"] == len(data)


def test_what_lies_in_the_middle_of_a_stream_is_not_recorded(pipe):
    from envparity.collectors.models import Limits, model

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a.npy", "b.npy", "c.npy"):
            header = (
                b"\x93NUMPY\x01\0"
                + b"\x76\0"
                + b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000,), }".ljust(118)
            )
            archive.writestr(name, header + b"\0" * 100_000)
    _, gap = model(pipe(file.getvalue()), "m.npz", limits=Limits(held_bytes=20_000))

    assert (gap["gap"], gap["reason"]) == (
        "not-recorded",
        "it was read as a stream, and what it needs lies in the middle of it",
    )
