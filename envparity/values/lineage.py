"""Where a model comes from: the code, its parameters, the run that made it, and the files that it was made of."""

from __future__ import annotations

from msgspec import Struct

from envparity.values.scalars import Sha256, Size, Variable


class SourceCode(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The code that trained. `remote` never holds a credential. `dirty` is whether the work tree differs from `commit`;
    `diff_sha256` is then the digest of that difference (untracked files are counted, in `untracked`, and not hashed).
    `run` holds what an experiment tracker calls this run (`mlflow.run_id`, …), never a token.
    """

    commit: str = ""
    branch: str = ""
    remote: str = ""
    dirty: bool | None = None
    diff_sha256: Sha256 | None = None
    untracked: int | None = None
    script: str = ""
    script_sha256: Sha256 | None = None
    parameters: tuple[Variable, ...] = ()
    run: tuple[Variable, ...] = ()


class Artifact(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    A file or folder that the environment was made for (`kind` is `model`), or that the model was made of (`data`).

    Of a model, what its own bytes say it needs, read and never executed: `classes` are `module:qualname`; `modules` are
    the modules they live in; `versions` what the file itself says it was written by, as pairs of distribution and
    version; `properties` what else decides how it is read (`opset`, `ir_version`, `architecture`, …).
    Of a folder `files` is how many files it holds, `size_bytes` their sum, `sha256` the digest of the sorted lines
    `sha256  path`. `pointer` is set where the file (or one in the folder) only points to the data (`git-lfs`,
    `dvc`); `sha256` is then what that pointer says, or that of the text `md5:SUM` where it says another kind of digest.
    """

    kind: str = "model"
    name: str
    size_bytes: Size
    sha256: Sha256
    format: str = ""
    path: str = ""
    files: int | None = None
    pointer: str = ""
    modules: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
