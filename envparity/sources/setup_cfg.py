"""What a `setup.cfg` of setuptools declares (https://setuptools.pypa.io/en/latest/userguide/declarative_config.html)."""

from __future__ import annotations

import configparser
import re

from envparity import codec, markers
from envparity.codec.trusted import trusted_text
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.documents import python
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.sources.requirements import facts_of
from envparity.values import Environment

TITLE = "a setup.cfg"


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that `install_requires` and the extras of a `setup.cfg` declare.

    Raises:
        MalformedError: not UTF-8, not an INI file, a requirement that is none.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(trusted_text(data, f"`{name}`", limit=1 << 20))
    except configparser.Error as error:
        raise MalformedError(f"`{name}` is not {TITLE}: {str(error).splitlines()[0]}") from error
    folder = (options.base_dir / name).parent
    facts: list[Fact] = [{"kind": "section", "section": "distributions"}]
    lists = [("install_requires", "", parser.get("options", "install_requires", fallback=""))]
    if parser.has_section("options.extras_require"):
        lists += [(f"extras_require.{extra}", extra, text) for extra, text in parser.items("options.extras_require")]
    for key, extra, text in lists:
        if text.lstrip().startswith("file:"):
            reason = f"`{key}` is read from another file when the project is built"
            facts.append(gap("distributions", "not-recorded", reason, key))
            continue
        lines = [
            line for line in re.split(r"[\n;](?=\s*[A-Za-z\n#]|$)" if "\n" not in text else r"\n", text) if line.strip()
        ]
        marker = markers.in_extras(re.sub(r"[-_.]+", "-", extra).lower()) if extra else ""
        facts += facts_of(lines, f"{name} ({key})", folder, marker=marker)
    asked = python(parser.get("options", "python_requires", fallback=""))
    known = ("distributions", *(["python"] if asked else []))
    unknown = not_recorded(all_but(*known), "a setup.cfg cannot carry it")
    return codec.environment([*facts, *asked, *unknown], origin("setup-cfg", name), open=True)
