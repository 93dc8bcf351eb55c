"""JSON documents are told by their keys."""

import json

import pytest


def test_a_hugging_face_configuration_tells_release_architecture_and_type(made, seen):
    found = seen(made("huggingface/config.json"), "config.json")

    assert (found.form, found.versions) == ("huggingface-config", {"transformers": "4.44.2"})
    assert found.properties == {
        "architecture": "BertForSequenceClassification",
        "model_type": "bert",
        "torch_dtype": "float32",
    }


def test_a_tokenizer_tells_its_kind(made, seen):
    assert seen(made("huggingface/tokenizer.json"), "tokenizer.json").properties["tokenizer"] == "WordPiece"
    config = seen(made("huggingface/tokenizer_config.json"), "tokenizer_config.json")
    assert config.properties == {"tokenizer_class": "BertTokenizer"}


def test_spacy_tells_the_releases_that_it_works_with(made, seen):
    found = seen(made("spacy/meta.json"), "meta.json")

    assert (found.form, found.modules, found.versions) == ("spacy-meta", {"spacy"}, {})
    assert (found.properties["spacy_version"], found.properties["pipeline"]) == (">=3.7.5,<3.8.0", "sentencizer")


@pytest.mark.parametrize(
    ("document", "form", "versions"),
    [
        ({"_class_name": "UNet2DModel", "_diffusers_version": "0.30.0"}, "diffusers", {"diffusers": "0.30.0"}),
        ({"peft_type": "LORA", "peft_version": "0.12.0"}, "peft", {"peft": "0.12.0"}),
        (
            {"__version__": {"sentence_transformers": "3.0.1", "pytorch": "2.4.0"}},
            "sentence-transformers",
            {"sentence-transformers": "3.0.1", "torch": "2.4.0"},
        ),
        ({"transformers_version": "4.44.2"}, "generation-config", {"transformers": "4.44.2"}),
    ],
)
def test_other_documents_of_models_tell_who_wrote_them(document, form, versions, seen):
    found = seen(json.dumps(document).encode(), "x.json")

    assert (found.form, found.versions) == (form, versions)


def test_the_layers_of_sentence_transformers_are_classes(seen):
    layers = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]

    assert seen(json.dumps(layers).encode(), "modules.json").classes == {"sentence_transformers.models:Transformer"}


def test_code_of_its_own_repository_is_said_not_to_be_read(seen):
    found = seen(b'{"model_type": "x", "auto_map": {"AutoModel": "modeling_x.XModel"}}', "config.json")

    assert [reason for reason in found.not_recorded if "`auto_map`" in reason]


def test_a_document_of_no_known_kind_says_so(seen):
    found = seen(b'{"a": 1}', "x.json")

    assert (found.form, found.modules) == ("json", set())
    assert found.not_recorded == ["a JSON document of no known kind: what it needs is not read"]


def test_a_version_that_is_no_text_is_no_version(seen):
    found = seen(b'{"transformers_version": 4.44, "model_type": {"deep": [1]}}', "config.json")

    assert found.versions == {}
