"""
What metadata says of a licence, in the words of SPDX where that is certain (https://spdx.org/licenses/, PEP 639).

Classifiers name families of licences ("BSD License"), and so do most older texts: of those no expression is made.
"""

from __future__ import annotations

__all__ = ["NOT_SAID", "Licence", "licence"]

from dataclasses import dataclass

_CERTAIN = {
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "BSD 2-Clause": "BSD-2-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
}
"""Classifiers and older texts that one licence alone is called by."""


@dataclass(frozen=True)
class Licence:
    """An SPDX expression; or, where none is certain, the names that metadata has."""

    expression: str = ""
    names: tuple[str, ...] = ()


NOT_SAID = Licence()


def licence(text: str) -> Licence:
    """What a distribution's `licence` says."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    names = tuple(dict.fromkeys(part.strip() for part in text.split(";") if part.strip()))
    if not names:
        return NOT_SAID
    try:
        return Licence(str(canonicalize_license_expression(_CERTAIN.get(text, text))))
    except InvalidLicenseExpression:
        return Licence(names=tuple("".join(c if c.isprintable() else "?" for c in name) for name in names))
