"""
Environments of a stated size for the benchmarks: metadata as long as that of real wheels, and files with their hashes.

They are made of text and noise, and nothing in them can be imported to any purpose; what reads an environment cannot
tell the difference.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import random
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROWS = 230
"""Rows of a RECORD: 235 distributions of a real environment for machine learning have 54,800 files."""

_CLASSIFIERS = "".join(f"Classifier: Programming Language :: Python :: 3.{minor}\n" for minor in range(8, 30))
_BODY = "A sentence of a description, as long as such sentences are, and of no further interest to anybody.\n" * 120


def distributions(site_packages: Path, count: int) -> None:
    """`count` distributions with metadata, each with a package of three small files that are really there."""
    for number in range(count):
        name = f"lib{number:04d}"
        package, info = site_packages / name, site_packages / f"{name}-1.{number}.dist-info"
        package.mkdir()
        info.mkdir()
        rows = [f"{name}/{_path(row)},sha256={_digest(str(row).encode())},{row * 37 + 300}" for row in range(ROWS)]
        rows += [f"{name}/__pycache__/m{row}.cpython-311.pyc,," for row in range(ROWS // 4)]
        for row in range(3):
            (package / _path(row)).write_text("VALUE = 1\n" * 30)
        needs = "".join(f"Requires-Dist: lib{(number + step) % count:04d}>=1.0\n" for step in range(1, 5))
        extras = "".join(f'Requires-Dist: extra{step}; extra == "all"\n' for step in range(6))
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{number}\nRequires-Python: >=3.8\n"
        (info / "METADATA").write_text(f"{head}{_CLASSIFIERS}{needs}{extras}Provides-Extra: all\n\n{_BODY}")
        (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        (info / "INSTALLER").write_text("pip\n")
        (info / "top_level.txt").write_text(f"{name}\n")
        if number % 4 == 0:
            (info / "entry_points.txt").write_text(f"[console_scripts]\n{name} = {name}:main\n")
        (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,", ""]))


RELEASES = 150
"""Of a project on the made index, each with a wheel and an sdist."""


@contextlib.contextmanager
def index(count: int) -> Iterator[str]:
    """A simple index with a page for each of `distributions`; its root. No file that it lists is there."""
    pages = {f"/simple/lib{number:04d}/": _page(number) for number in range(count)}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            body = pages.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.shutdown()
        server.server_close()


def _page(number: int) -> bytes:
    name = f"lib{number:04d}"
    own = range(max(0, number - RELEASES // 2), max(0, number - RELEASES // 2) + RELEASES)
    listed = [_listed(f"{name}-1.{minor}{end}") for minor in own for end in ("-py3-none-any.whl", ".tar.gz")]
    return json.dumps({"files": listed, "meta": {"api-version": "1.1"}, "name": name}).encode()


def _listed(file: str) -> dict[str, object]:
    return {
        "filename": file,
        "hashes": {"sha256": hashlib.sha256(file.encode()).hexdigest()},
        "requires-python": ">=3.8",
        "size": 12_345,
        "upload-time": "2026-11-20T12:00:00.000000Z",
        "url": f"https://files.pythonhosted.org/packages/{'0123456789ab' * 5}/{file}",
        "yanked": False,
        "core-metadata": {"sha256": "ab" * 32},
        "provenance": None,
        "data-dist-info-metadata": {"sha256": "ab" * 32},
    }


def files(site_packages: Path, count: int, total_bytes: int) -> None:
    """40 distributions with `count` files of `total_bytes` together: most are small, and two of each have the rest."""
    random.seed(1)
    noise = random.randbytes(1 << 20)
    small = [500, 2_000, 8_000, 20_000]
    large = max((total_bytes - count * sum(small) // len(small)) // 80, 1)
    for number in range(40):
        name, rows = f"big{number:02d}", []
        for index in range(count // 40):
            size = large if index < 2 else small[(number + index) % len(small)]
            path = site_packages / name / f"part{index % 30}" / f"f{index}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            start = (number * 7919 + index * 104729) % (1 << 19)
            data = noise[start : start + size] if size < 1 << 19 else (noise * (size // len(noise) + 1))[:size]
            path.write_bytes(data)
            rows.append(f"{path.relative_to(site_packages)},sha256={_digest(data)},{size}")
        info = site_packages / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n")
        (info / "RECORD").write_text("\n".join([*rows, ""]))


def image(archive: Path, site_packages: Path, count: int, total_bytes: int) -> None:
    """
    What `docker save` writes: three plain layers, with the Python that runs this, the metadata of an environment, and
    `count` files of `total_bytes` together.
    """
    random.seed(2)
    noise = random.randbytes(8 << 20)
    inside = f"opt/env/lib/python3.{sys.version_info[1]}/site-packages"
    metadata = [path for path in sorted(site_packages.glob("*.dist-info/*")) if path.is_file()]
    layers = []
    for number, tenths in enumerate((1, 8, 1)):
        path = archive.with_name(f"layer{number}.tar")
        with tarfile.open(path, "w") as layer:
            if number == 0:
                layer.add(Path(sys.executable).resolve(), "usr/bin/python3")
                _add(layer, "usr/lib/python3/os.py", b"")
                _add(layer, "opt/env/pyvenv.cfg", b"home = /usr/bin\nversion = 3.%d.0\n" % sys.version_info[1])
                link = tarfile.TarInfo("opt/env/bin/python3")
                link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
                layer.addfile(link)
            for file in metadata if number == 1 else ():
                _add(layer, f"{inside}/{file.relative_to(site_packages)}", file.read_bytes())
            for index in range(count * tenths // 10):
                size = total_bytes // count * (8 if index % 16 == 0 else 8 / 15)  # a few hold half of it
                start = index * 104729 % (1 << 22)
                name = f"{inside}/lib{index % 235:04d}/part{index % 40}/f{number}-{index}"
                _add(layer, name, noise[start : start + int(size)])
        layers.append(path)
    digests = [_sha256(path) for path in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/opt/env/bin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    line = {"Config": name, "RepoTags": ["bench:1"], "Layers": [f"{digest}/layer.tar" for digest in digests]}
    with tarfile.open(archive, "w") as whole:
        _add(whole, name, config)
        for path, digest in zip(layers, digests, strict=True):
            whole.add(path, f"{digest}/layer.tar")
            path.unlink()
        _add(whole, "manifest.json", json.dumps([line]).encode())


@contextlib.contextmanager
def registry(archive: Path) -> Iterator[str]:
    """A registry on the loopback that holds the image of such an archive; what `registry:` names it."""
    with tarfile.open(archive) as whole:
        members = {member.name: (member.offset_data, member.size) for member in whole}
        line = json.load(whole.extractfile("manifest.json") or io.BytesIO())[0]
    config = line["Config"].removesuffix(".json")
    blobs = {f"sha256:{config}": members[line["Config"]]}
    blobs |= {f"sha256:{name.partition('/')[0]}": members[name] for name in line["Layers"]}
    kind = "application/vnd.oci.image"
    described = [{"mediaType": f"{kind}.layer.v1.tar", "digest": key, "size": size} for key, (_, size) in blobs.items()]
    described[0]["mediaType"] = f"{kind}.config.v1+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": described[0],
            "layers": described[1:],
        }
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            offset, size = blobs.get(self.path.rpartition("/")[2], (0, len(manifest)))
            self.send_response(200)
            self.send_header("Content-Length", str(size if "/blobs/" in self.path else len(manifest)))
            self.send_header("Content-Type", f"{kind}.manifest.v1+json")
            self.end_headers()
            if "/blobs/" not in self.path:
                self.wfile.write(manifest)
                return
            with archive.open("rb") as file:
                self.connection.sendfile(file, offset, size)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"registry:127.0.0.1:{server.server_port}/bench:1"
    finally:
        server.shutdown()
        server.server_close()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o755
    archive.addfile(member, io.BytesIO(data))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path(row: int) -> str:
    return "__init__.py" if row == 0 else f"m{row}.py" if row < 20 else f"part{row % 9}/m{row}.py"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
