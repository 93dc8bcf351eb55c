"""A model that is a folder is one artifact, and each known file in it adds to what it needs."""

import hashlib
import pickle
from collections import Counter
from pathlib import Path

import pytest

MADE = Path(__file__).resolve().parents[1] / "data" / "models" / "formats"


def read(tree, path, name="model"):
    """The artifact, what is unread, and what is not recorded."""
    from envparity.collectors.model_folders import folder

    fact, *gaps = folder(tree, path, name)
    assert all(gap["item"] == name for gap in gaps)
    by_kind = {kind: [gap["reason"] for gap in gaps if gap["gap"] == kind] for kind in ("unread", "not-recorded")}
    return fact, by_kind["unread"], by_kind["not-recorded"]


def recorded(name):
    from envparity.collectors.tree import LocalTree

    return read(LocalTree(), str(MADE / name), name)


def test_a_folder_has_size_count_and_digest():
    fact, _, _ = recorded("mlflow")
    files = {path.name: path.read_bytes() for path in (MADE / "mlflow").iterdir()}
    lines = sorted(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())

    assert (fact["files"], fact["size_bytes"]) == (len(files), sum(map(len, files.values())))
    assert fact["sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_an_mlflow_model_needs_its_loader_and_what_the_model_inside_names():
    fact, unread, not_recorded = recorded("mlflow")

    assert (fact["format"], unread, not_recorded) == ("mlflow", [], [])
    assert {"mlflow.sklearn", "sklearn.linear_model._logistic"} <= set(fact["modules"])
    assert fact["versions"] == [["mlflow", "2.16.2"], ["scikit-learn", "1.4.2"]]


def test_a_spacy_model_needs_spacy():
    fact, unread, not_recorded = recorded("spacy")

    assert (fact["format"], unread, not_recorded) == ("spacy", [], [])
    assert "spacy" in fact["modules"]


def test_a_hugging_face_model_needs_transformers_and_what_its_weights_were_formed_by(tree_of):
    fact, unread, not_recorded = recorded("huggingface")
    assert (fact["format"], fact["modules"], unread, not_recorded) == ("huggingface", ["transformers"], [], [])

    weights = (MADE / "weights.safetensors").read_bytes()
    config = (MADE / "huggingface/config.json").read_bytes()
    fact, unread, not_recorded = read(tree_of({"/m/config.json": config, "/m/model.safetensors": weights}), "/m")
    assert (fact["modules"], unread, not_recorded) == (["torch", "transformers"], [], [])


def mlmodel(*lines):
    return ("flavors:\n  python_function:\n" + "".join(f"    {line}\n" for line in lines)).encode()


@pytest.mark.parametrize(
    "place",
    ["../../etc/passwd", "/etc/passwd", "http://evil.example/m.pkl", "s3://x/y", "..", "a/../../b", "~/m", "..\\m"],
)
def test_a_place_that_leads_out_of_the_folder_is_not_followed(place, tree_of):
    tree = tree_of({"/m/MLmodel": mlmodel("model_path: " + place), "/etc/passwd": pickle.dumps(Counter())})
    fact, unread, _ = read(tree, "/m")

    assert unread == ["`model_path` leads out of the folder, and is not followed: " + place]
    assert fact["files"] == 1
    assert "collections" not in fact["modules"]


def test_a_place_that_is_not_there_is_unread(tree_of):
    assert read(tree_of({"/m/MLmodel": mlmodel("data: model.pkl")}), "/m")[1] == [
        "`data` names `model.pkl`, which is not in it"
    ]


def test_modules_that_the_folder_brings_are_no_need_of_it(tree_of):
    """What `code_paths` copied is put on the import path by MLflow itself."""
    tree = tree_of(
        {"/m/MLmodel": mlmodel("loader_module: mine.load", "code: code"), "/m/code/mine/load.py": b"import os\n"}
    )
    fact, unread, not_recorded = read(tree, "/m")

    assert (fact["modules"], unread) == ([], [])
    assert "`code/mine/load.py`: code, whose imports are not read" in not_recorded


def test_a_saved_model_is_a_folder(tree_of):
    tree = tree_of(
        {
            "/m/saved_model.pb": b"\x08\x01\x12\x0a\x0a\x08\x2a\x062.15.0",
            "/m/variables/variables.index": b"\0",
            "/m/variables/variables.data-00000-of-00001": b"\0",
        }
    )
    fact, unread, not_recorded = read(tree, "/m")

    assert (fact["format"], fact["modules"]) == ("tensorflow-savedmodel", ["tensorflow"])
    assert (fact["versions"], unread, not_recorded) == ([["tensorflow", "2.15.0"]], [], [])


def test_a_folder_of_files_that_nothing_knows_says_so(tree_of):
    fact, unread, not_recorded = read(tree_of({"/m/weights": b"\x01\x02", "/m/README.md": b"#"}), "/m")

    assert (fact["format"], fact["files"], unread) == ("folder", 2, [])
    assert not_recorded == [
        "`weights`: the format is not known: what it needs is not read",
        "nothing in it says what loads it",
    ]


def test_a_damaged_file_in_a_folder_is_named(tree_of):
    fact, unread, _ = read(
        tree_of({"/m/a/model.pkl": pickle.dumps(Counter("a"))[:-3], "/m/b.pkl": b"\x80\x04N."}), "/m"
    )

    assert [reason[:20] for reason in unread] == ["`a/model.pkl` in it: "[:20]]
    assert fact["modules"] == ["collections"]


def test_a_link_that_leads_out_is_a_gap(tree_of):
    tree = tree_of({"/m/a.pkl": b"\x80\x04N.", "/m/link.pkl": "/etc/shadow", "/etc/shadow": b"root"})

    assert read(tree, "/m")[1] == ["`link.pkl` in it is a link that leads nowhere, or out of it"]


def test_pointers_of_git_lfs_in_a_folder_count_as_what_they_point_to(tree_of):
    data = pickle.dumps(Counter("a"))
    digest = hashlib.sha256(data).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n"
    whole, _, _ = read(tree_of({"/m/m.pkl": data}), "/m")
    pointed, unread, not_recorded = read(tree_of({"/m/m.pkl": pointer.encode()}), "/m")

    assert (pointed["sha256"], pointed["size_bytes"]) == (whole["sha256"], whole["size_bytes"])
    assert (unread, pointed["modules"]) == ([], [])
    assert "`m.pkl`: it is a pointer of git-lfs: the file itself is not here" in not_recorded


def test_gaps_without_end_are_counted(tree_of):
    _, unread, _ = read(tree_of({f"/m/{number:03d}.pkl": b"\x80\x04" for number in range(100)}), "/m")

    assert (len(unread), unread[-1]) == (21, "and 80 more of the kind")
