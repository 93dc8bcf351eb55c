"""
Takes out of installed distributions what serves nobody, as sheets beside this file say.

    python strip.py [--root DIR] SITE_PACKAGES

`NAME-VERSION.csv` has the rows of RECORD that go, and their files go with them, unless another distribution lists one
too. The sheet then lies in the image below `/usr/share/envparity/stripped`: with its rows again RECORD is what it was.
A sheet of a version that is not installed is passed over. With `--root` the folder is looked for below DIR, and lies at
the root of the image later on.
"""

import argparse
import csv
import os
import shutil
import sys
from pathlib import Path

PLACE = "usr/share/envparity/stripped"


def rows(path):
    """The rows of a RECORD or a sheet."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return [row for row in csv.reader(stream) if row]


def take_out(record, sheet):
    """Write a RECORD without the rows of a sheet."""
    left = {row[0] for row in rows(sheet)}
    kept = [row for row in rows(record) if row[0] not in left]
    with record.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(kept)


def remove(place, site):
    """Remove a file, byte code beside it, and each folder that nothing is left in. Returns its size in bytes."""
    size = place.stat().st_size
    place.unlink()
    if place.suffix == ".py":
        shutil.rmtree(str(place.parent / "__pycache__"), ignore_errors=True)
    for folder in place.parents:
        if folder == site or any(folder.iterdir()):
            break
        folder.rmdir()
    return size


def main():
    """Say how many files went, and how large they were."""
    parser = argparse.ArgumentParser(description="Take out of installed distributions what serves nobody.")
    parser.add_argument("--root", default="/", metavar="DIR", help="where the image's root is here")
    parser.add_argument("site", metavar="SITE_PACKAGES", help="by its path in the image")
    given = parser.parse_args()
    root = Path(given.root)
    site = root / given.site.lstrip("/")
    noted = root / PLACE
    noted.mkdir(parents=True, exist_ok=True)
    gone = []
    for sheet in sorted(Path(__file__).resolve().parent.glob("*.csv")):
        record = site / (sheet.stem + ".dist-info") / "RECORD"
        if not record.is_file():
            sys.stdout.write(f"left as it is, since it is not installed: {sheet.stem}\n")
            continue
        take_out(record, sheet)
        shutil.copyfile(str(sheet), str(noted / sheet.name))
        gone += [row[0] for row in rows(sheet)]
    listed = {row[0] for record in site.glob("*.dist-info/RECORD") for row in rows(record)}
    places = [Path(os.path.normpath(str(site / path))) for path in gone if path not in listed]
    sizes = [remove(place, site) for place in places if place.is_file() or place.is_symlink()]
    sys.stdout.write(f"left out {len(sizes):,} files, {sum(sizes) / 1e6:,.1f} MB\n")


if __name__ == "__main__":
    main()
