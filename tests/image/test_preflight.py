"""What would fail when the model is served, said before anything is downloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envparity import codec
from envparity.collectors import models
from envparity.errors import RefusedError
from envparity.image.preflight import check_imports, check_platform, stdlib_names
from envparity.values import (
    Artifact,
    Lock,
    LockedArtifact,
    LockedDistribution,
    LockedInterpreter,
    LockedOsPackage,
    LockedWheel,
    Origin,
    Packer,
    Target,
)

WHEEL = "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"


def model(*modules: str, classes: tuple[str, ...] = ()) -> Artifact:
    return Artifact(kind="model", name="model.joblib", size_bytes=1, sha256="a" * 64, modules=modules, classes=classes)


def lock(
    wheel: str = WHEEL,
    *,
    imports: tuple[str, ...] = ("numpy", "sklearn"),
    python: str = "3.11.7",
    platform: str = "linux/amd64",
    libc6: str = "2.36-9+deb12u10",
) -> Lock:
    name, version = wheel.split("-")[:2]
    return Lock(
        requires_python="==3.11.*",
        distributions=(
            LockedDistribution(
                name=name,
                version=version,
                wheels=(LockedWheel(name=wheel, url=f"https://host/{wheel}", size_bytes=1, sha256="a" * 64),),
                state="matched",
                import_names=imports,
            ),
        ),
        targets=(
            Target(
                platform=platform,
                base="debian:bookworm",
                interpreter=LockedInterpreter(kind="base", version=python, executable="/usr/bin/python3.11"),
                os_packages=tuple(
                    LockedOsPackage(
                        name="libc6",
                        version=libc6,
                        architecture="amd64",
                        archive="debian",
                        suite="bookworm",
                        pool_path="pool/main/g/glibc/libc6.deb",
                        size_bytes=1,
                        sha256="a" * 64,
                    )
                    for _ in [libc6]
                    if libc6
                ),
            ),
        ),
        snapshot=LockedArtifact(name="snapshot", size_bytes=1, sha256="a" * 64),
        packer=Packer(),
    )


def refusal(
    *models: Artifact, locked: Lock | None = None, python: str = "3.11", app: Path | None = None
) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        check_imports(
            {f"model{number or ''}.joblib": each for number, each in enumerate(models)}, locked or lock(), python, app
        )
    return caught.value


def test_what_the_lock_and_the_standard_library_provide_is_fine() -> None:
    modules = ("sklearn.linear_model._logistic", "numpy", "collections", "builtins", "copy_reg", "__builtin__")

    check_imports({"model.joblib": model(*modules), "empty": model()}, lock(), "3.11")


@pytest.mark.parametrize("name", ["pipeline.onnx", "weights.safetensors", "tiny.gguf", "numbers.npy"])
def test_a_model_that_names_no_module_of_its_own_is_fine(name: str, checkout: Path) -> None:
    """What loads an ONNX model is not in the file: that must not stop its image."""
    path = checkout / "tests/data/models/formats" / name
    found = codec.environment(models.model(str(path), name), Origin(kind="model"))

    assert found.complete
    check_imports({name: (found.artifacts or ())[0]}, lock(), "3.11")


def test_a_torchscript_model_needs_torch_and_not_the_code_that_it_carries(checkout: Path) -> None:
    path = checkout / "tests/data/models/formats/script.pt"
    found = codec.environment(models.model(str(path), path.name), Origin(kind="model"))

    check_imports({path.name: (found.artifacts or ())[0]}, lock(imports=("torch",)), "3.11")


def test_a_class_of_the_notebook_is_refused_by_name_with_what_to_do() -> None:
    """The commonest way in which serving fails: it works in the notebook, and the server never heard of the class."""
    error = refusal(model("__main__", "sklearn.pipeline", classes=("__main__:Cleaner", "sklearn.pipeline:Pipeline")))

    assert error.message == (
        "`model.joblib` cannot be loaded in the image: it refers to `__main__`, "
        "which neither the lock nor the standard library provides"
    )
    assert error.details == (
        "`__main__` (`Cleaner`): was defined in the notebook or script that trained the model, and is in no module",
    )
    assert "into a module" in error.hint
    assert "--app DIR" in error.hint


def test_all_missing_modules_of_all_models_are_named_at_once() -> None:
    error = refusal(model("myproject.features", "numpy"), model("xgboost.sklearn"), model("numpy"))

    assert error.message.startswith("`model.joblib`, `model1.joblib` cannot be loaded in the image: they refer to")
    assert error.details == (
        "model.joblib: `myproject.features`: is a module of your own, or of a distribution that is not in the lock",
        "model1.joblib: `xgboost.sklearn`: is a module of your own, or of a distribution that is not in the lock",
    )
    assert "install the distribution" in error.hint


def test_a_module_that_only_a_class_names_counts_too() -> None:
    assert refusal(model(classes=("__main__:Cleaner",))).details


def test_many_missing_modules_do_not_fill_the_screen() -> None:
    assert refusal(model(*(f"own{number}" for number in range(9)))).message.count("`own") == 5


def test_a_name_that_only_begins_alike_provides_nothing() -> None:
    assert refusal(model("sklearnex.svm")).details


def test_a_shared_namespace_provides_only_what_is_locked_of_it() -> None:
    locked = lock(imports=("google.protobuf",))
    check_imports({"model": model("google.protobuf.message")}, locked, "3.11")

    assert refusal(model("google.cloud.storage"), locked=locked).details == (
        "`google.cloud.storage`: the lock provides only `google.protobuf` of the namespace `google`",
    )


def test_the_application_provides_its_modules_packages_and_namespaces(tmp_path: Path) -> None:
    (tmp_path / "single.py").touch()
    (tmp_path / "native.cpython-311-x86_64-linux-gnu.so").touch()
    (tmp_path / "myproject" / "deep").mkdir(parents=True)
    (tmp_path / "myproject" / "features.py").touch()
    (tmp_path / "myproject" / "deep" / "model.py").touch()
    modules = ["single", "native", "myproject", "myproject.features", "myproject.deep", "myproject.deep.model"]

    check_imports({"model": model(*modules)}, lock(), "3.11", tmp_path)
    error = refusal(model("myproject.other", "single.inner", "..etc"), app=tmp_path)

    assert len(error.details) == 3
    assert f"nor the application in `{tmp_path}`" in error.message
    assert "into the folder of `--app`" in error.hint


def test_the_application_cannot_stand_in_for_main(tmp_path: Path) -> None:
    """A `__main__.py` in the application is not what the server runs."""
    (tmp_path / "__main__.py").touch()

    assert refusal(model("__main__"), app=tmp_path).details


def test_a_module_that_left_the_standard_library_says_so() -> None:
    error = refusal(model("imp", "distutils.version"), python="3.12.1")

    assert all("standard library of an older Python" in line for line in error.details)


def check_locked(locked: Lock) -> None:
    check_platform(locked, locked.targets[0])


def test_the_standard_library_is_that_of_the_image_not_of_the_builder() -> None:
    assert "distutils" in stdlib_names("3.11") >= {"tomllib", "imp"}
    assert stdlib_names("3.10").isdisjoint({"tomllib"})
    assert stdlib_names("3.8").isdisjoint({"zoneinfo", "graphlib", "tomllib"})
    assert stdlib_names("3.12.1").isdisjoint({"distutils", "imp", "asyncore"})
    assert stdlib_names("3.13").isdisjoint({"cgi", "telnetlib"})
    assert stdlib_names(".".join(map(str, sys.version_info[:3]))) == sys.stdlib_module_names


@pytest.mark.parametrize(
    "wheel",
    [
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-py2.py3-none-any.whl",
        "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "demo-1.0-cp39-abi3-manylinux_2_34_x86_64.manylinux_2_38_x86_64.whl",
        "demo-1.0-py3-none-manylinux_2_36_x86_64.whl",
        "demo-1.0-cp311-none-linux_x86_64.whl",
        "demo-1.0-cp310.cp311-cp310.cp311-manylinux1_x86_64.whl",
    ],
)
def test_wheels_that_run_on_the_base_are_fine(wheel: str) -> None:
    check_locked(lock(wheel))


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        ("demo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", "is for `cp312-cp312`, the image has Python 3.11.7"),
        ("demo-1.0-cp311-cp311t-manylinux_2_17_x86_64.whl", "is for `cp311-cp311t`, the image has Python 3.11.7"),
        ("demo-1.0-cp312-abi3-manylinux_2_17_x86_64.whl", "is for `cp312-abi3`"),
        ("demo-1.0-cp311-cp311-manylinux_2_38_x86_64.whl", "needs glibc 2.38 or newer, and the base has 2.36"),
        ("demo-1.0-cp311-cp311-manylinux_2_17_aarch64.whl", "the image is linux/amd64"),
        ("demo-1.0-cp311-cp311-musllinux_1_2_x86_64.whl", "is for `musllinux_1_2_x86_64`"),
        ("demo-1.0-cp311-cp311-macosx_11_0_arm64.whl", "is for `macosx_11_0_arm64`"),
        ("demo-1.0-nonsense.whl", "is not the name of a wheel"),
    ],
)
def test_a_wheel_that_cannot_run_on_the_base_is_refused_with_both_sides(wheel: str, message: str) -> None:
    with pytest.raises(RefusedError, match="1 locked wheel") as caught:
        check_locked(lock(wheel))

    assert message in caught.value.details[0]


def test_symbols_that_are_newer_than_the_tag_promises_count() -> None:
    """A wheel's tag is a promise of its author; the dynamic loader reads the symbols."""
    locked = lock()

    check_platform(locked, locked.targets[0], floors={WHEEL: "2.28"})
    with pytest.raises(RefusedError) as caught:
        check_platform(locked, locked.targets[0], floors={WHEEL: "2.38"})
    assert caught.value.details == ("demo 1.0: needs glibc 2.38 or newer, and the base has 2.36",)


@pytest.mark.parametrize("version", ["2.5-1", "1:2.16-0ubuntu1", "2.9"])
def test_glibc_versions_are_compared_as_numbers(version: str) -> None:
    with pytest.raises(RefusedError, match="1 locked wheel"):
        check_locked(lock(libc6=version))


def test_the_c_library_of_a_base_that_is_not_made_of_packages_can_be_told() -> None:
    locked = lock(libc6="")

    check_platform(locked, locked.targets[0], glibc="2.17")
    with pytest.raises(RefusedError, match="1 locked wheel"):
        check_platform(locked, locked.targets[0], glibc="2.16")


def test_a_native_wheel_on_a_base_without_a_c_library_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        check_locked(lock(libc6=""))
    assert caught.value.details == ("demo 1.0: needs glibc 2.17, and the base has no C library",)
    check_locked(lock("demo-1.0-py3-none-any.whl", libc6=""))


def test_an_arm_image_takes_arm_wheels() -> None:
    check_locked(lock("demo-1.0-cp311-cp311-manylinux_2_17_aarch64.whl", platform="linux/arm64"))


def test_a_short_name_that_only_cython_knows_is_not_missing() -> None:
    """scikit-learn's gradient boosting pickles its loss as `_loss`, which no distribution provides by that name."""
    boosting = model(
        "_loss",
        "sklearn.ensemble._gb",
        classes=("_loss:__pyx_unpickle_CyHalfBinomialLoss", "sklearn.ensemble._gb:GradientBoostingClassifier"),
    )

    check_imports({"model.pkl": boosting}, lock(), "3.11.7")


def test_a_private_module_of_somebody_s_own_is_missing() -> None:
    with pytest.raises(RefusedError, match="_loss"):
        check_imports({"model.pkl": model("_loss", classes=("_loss:Mine",))}, lock(), "3.11.7")
