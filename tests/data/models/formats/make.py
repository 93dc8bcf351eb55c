"""
How the files beside this one were made, by the libraries themselves (CPython 3.11; the part of torch with 3.10):

    uv venv -p 3.11 env
    uv pip install -p env numpy==1.26.4 scikit-learn==1.4.2 xgboost-cpu==2.1.4 lightgbm==4.5.0 catboost==1.2.7 \\
        skops==0.10.0 onnx==1.16.2 skl2onnx==1.17.0 safetensors==0.4.5 h5py==3.12.1 keras==3.6.0 gguf==0.10.0 \\
        sentencepiece jax==0.4.35 joblib==1.4.2 lz4 spacy==3.7.5 transformers==4.44.2 mlflow==2.16.2
    env/bin/python make.py trees arrays keras spacy transformers mlflow
    uv venv -p 3.10 torch; uv pip install -p torch torch==1.12.1 "numpy<2"
    torch/bin/python make.py torch

TensorFlow is too large to install for one file: the SavedModel of the tests is written by the test itself.
"""

import json
import os
import pickle
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.5, 0.2], [0.1, 0.9], [0.8, 0.7], [0.3, 0.3]])
Y = np.array([0, 1, 1, 0, 1, 0, 1, 0])


def trees():
    import catboost
    import joblib
    import lightgbm
    import skl2onnx
    import skops.io
    import xgboost
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 2}, xgboost.DMatrix(X, Y), 2)
    booster.save_model(HERE / "xgboost.json")
    booster.save_model(HERE / "xgboost.ubj")
    data = lightgbm.Dataset(X, Y, params={"min_data_in_leaf": 1, "min_data_in_bin": 1, "verbose": -1})
    lightgbm.train({"objective": "binary", "num_leaves": 3, "min_data_in_leaf": 1, "verbose": -1}, data, 2).save_model(
        HERE / "lightgbm.txt"
    )
    cat = catboost.CatBoostClassifier(iterations=2, depth=2, allow_writing_files=False, verbose=False, thread_count=1)
    cat.fit(X, Y).save_model(HERE / "catboost.cbm")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    skops.io.dump(pipeline, HERE / "pipeline.skops", compression=zipfile.ZIP_DEFLATED)
    onnx = skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32), target_opset={"": 17, "ai.onnx.ml": 3})
    (HERE / "pipeline.onnx").write_bytes(onnx.SerializeToString())
    joblib.dump(pipeline, HERE / "pipeline.lz4.joblib", compress=("lz4", 3))


def arrays():
    import gguf
    import safetensors.numpy

    np.save(HERE / "numbers.npy", X)
    np.save(HERE / "objects.npy", np.array([{"a": np.float32(1)}, pickle.Pickler], dtype=object), allow_pickle=True)
    np.savez(HERE / "arrays.npz", numbers=X, objects=np.array([os.getcwd], dtype=object))
    np.savez_compressed(HERE / "packed.npz", numbers=X)
    tensors = {"weight": X.astype(np.float32), "bias": Y}
    safetensors.numpy.save_file(tensors, HERE / "weights.safetensors", metadata={"format": "pt"})
    writer = gguf.GGUFWriter(HERE / "tiny.gguf", "llama")
    writer.add_name("tiny")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "a", "b"])
    writer.add_file_type(1)
    writer.add_tensor("token_embd.weight", X.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def keras():
    os.environ["KERAS_BACKEND"] = "numpy"
    import h5py
    import keras

    @keras.saving.register_keras_serializable(package="mine")
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), Own()])
    model.save(HERE / "sequential.keras")
    model.save(HERE / "sequential.h5")
    # As Keras 2 wrote weights, in the newer form of HDF5, which an option of h5py chooses.
    with h5py.File(HERE / "latest.h5", "w", libver="latest") as file:
        file.attrs["keras_version"] = np.bytes_("2.15.0")
        file.attrs["backend"] = "tensorflow"


def spacy():
    import spacy

    shutil.rmtree(HERE / "spacy", ignore_errors=True)
    nlp = spacy.blank("xx", meta={"name": "tiny"}, config={"nlp": {"tokenizer": {"@tokenizers": "spacy.Tokenizer.v1"}}})
    nlp.add_pipe("sentencizer")
    nlp.to_disk(HERE / "spacy")
    (HERE / "spacy/tokenizer").unlink()  # 37 kB of rules that nothing here reads


def transformers():
    import transformers

    shutil.rmtree(HERE / "huggingface", ignore_errors=True)
    config = transformers.BertConfig(vocab_size=6, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    config.architectures = ["BertForSequenceClassification"]
    config.torch_dtype = "float32"
    config.save_pretrained(HERE / "huggingface")
    vocabulary = HERE / "vocab.txt"
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    transformers.BertTokenizerFast(str(vocabulary)).save_pretrained(HERE / "huggingface")
    vocabulary.unlink()


def mlflow():
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    shutil.rmtree(HERE / "mlflow", ignore_errors=True)
    model = LogisticRegression().fit(X, Y)
    mlflow.sklearn.save_model(model, HERE / "mlflow", input_example=X[:1])


def torch():
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(2, 1)

        def forward(self, x):
            return torch.relu(self.linear(x))

    torch.manual_seed(0)
    net = Net()
    torch.save(net.state_dict(), HERE / "state.pt")
    torch.save(net.state_dict(), HERE / "state.legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.ReLU()), HERE / "whole.pt")
    torch.jit.save(torch.jit.script(net), HERE / "script.pt")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in sys.argv[1:]:
        globals()[name]()
    print(json.dumps({path.name: path.stat().st_size for path in HERE.iterdir()}))
