"""`envparity cache`: where what was fetched and made lies, how much it is, and away with what is not used."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import click

from envparity.cli.common import Common, common_options, emit, the_cache
from envparity.errors import UsageError

_BYTES = {"": 1, "B": 1, **{f"{letter}B": 1000**n for n, letter in enumerate("KMGT", 1)}}
_BYTES |= {f"{letter}IB": 1024**n for n, letter in enumerate("KMGT", 1)}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def _size(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})", text or "0")
    if text is not None and (found is None or found[2].upper() not in _BYTES):
        raise UsageError(f"`{text}` is no size", hint="such as `--max-size 5GB`, `500MiB` or `0`")
    return int(float(found[1]) * _BYTES[found[2].upper()]) if text is not None and found else None


def _age(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text or "0s")
    if found is None:
        raise UsageError(f"`{text}` is no time", hint="such as `--older-than 30d`, `12h` or `0s`")
    return int(found[1]) * _SECONDS[found[2]] if text is not None else None


@click.command()
@click.argument("what", metavar="dir|size|prune", type=click.Choice(["dir", "size", "prune"]))
@click.option("--max-size", metavar="SIZE", callback=_size, help="prune: what may stay, such as 5GB. [default: 20GB]")
@click.option("--older-than", metavar="TIME", callback=_age, help="prune: what was not used for so long: 30d, 12h.")
@click.option("--check", is_flag=True, help="prune: read every file, and remove the damaged ones too.")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@common_options
def command(what: str, max_size: int | None, older_than: int | None, check: bool, format: str, common: Common) -> None:
    """
    Print where the cache is, how large it is, or remove what was used least recently.

    What a running envparity uses or writes is never removed. Once a day, a command that fetched something
    brings the cache down to 20 GB by itself.

    \b
      envparity cache size
      envparity cache prune --max-size 5GB
      envparity cache prune --older-than 30d
    """
    from envparity.cache import USUAL_MOST_BYTES

    if what != "prune" and (max_size is not None or older_than is not None or check):
        raise UsageError(
            f"`envparity cache {what}` removes nothing", hint="--max-size, --older-than and --check are for `prune`"
        )
    cache = the_cache()
    folder = str(cache.folder)
    if what == "dir":
        emit((json.dumps({"dir": folder}) if format == "json" else folder) + "\n", None)
        return
    if what == "size":
        files, size_bytes = cache.size()
        found = {"dir": folder, "files": files, "size_bytes": size_bytes}
        emit((json.dumps(found) if format == "json" else f"{shown(size_bytes)} in {_files(files)}") + "\n", None)
        return
    most = USUAL_MOST_BYTES if max_size is None and older_than is None and not check else max_size
    done = cache.prune(most_bytes=most, older_than_s=older_than, check=check)
    if format == "json":
        emit(json.dumps({"dir": folder, **asdict(done)}) + "\n", None)
        return
    damaged = f", {done.damaged:,} of them damaged" if done.damaged else ""
    emit(f"removed {_files(done.removed)}{damaged}, {shown(done.removed_bytes)}\n", None)
    if done.in_use:
        emit(f"kept {_files(done.in_use)} that a running envparity may use\n", None)
    emit(f"{shown(done.left_bytes)} in {_files(done.left)} left\n", None)


def shown(size_bytes: int) -> str:
    """A size for a person, in units of 1000 bytes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"
