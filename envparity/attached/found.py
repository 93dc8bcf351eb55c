"""What lies beside an image in its place, and one document of it."""

from __future__ import annotations

from envparity.attached.kinds import WORDS
from envparity.errors import IntegrityError, UsageError
from envparity.oci import places, referrers
from envparity.oci.access import Access
from envparity.oci.entries import shown
from envparity.oci.spec import NOTHING
from envparity.values import Attachment

_MOST = 200
"""More documents than any image has; what a hostile place lists beyond them is not read."""


def attached(reference: str, access: Access, platform: str = "") -> tuple[Attachment, ...]:
    """
    What is said about an image where it lies, each by a manifest whose digest was checked.

    Raises:
        UnsupportedError: an archive or an engine. IntegrityError: a manifest is not what it is listed as, or is about
        something else.
    """
    with referrers.opened(reference, access=access) as place:
        return listed(place, places.open_image(reference, platform=platform, access=access).digest, reference)


def listed(place: referrers.Referrers, subject: str, reference: str) -> tuple[Attachment, ...]:
    """The same of the image with this digest, whose place is open. What a registry cleaned away is not there."""
    found = []
    lines = place.listed(subject)[:_MOST]
    there = place.there(subject, [line.digest for line in lines])
    for line in lines:
        if line.digest not in there:
            continue
        manifest = place.manifest(line)
        if manifest.subject is None or manifest.subject.digest != subject:
            raise IntegrityError(f"`{shown(reference)}` lists {line.digest}, which is about something else")
        kind = manifest.artifact_type or manifest.config.media_type
        for blob in manifest.layers[:1]:
            title = (blob.annotations or NOTHING).get(referrers.TITLE, "")
            found.append(
                Attachment(
                    what=WORDS.get(kind, ""),
                    kind=kind,
                    digest=line.digest,
                    file_digest=blob.digest,
                    size_bytes=blob.size_bytes,
                    title=title,
                )
            )
    return tuple(sorted(found, key=lambda item: (item.what == "", item.what, item.title, item.digest)))


def content(reference: str, wanted: str, access: Access, platform: str = "") -> bytes:
    """
    One document: by its word (`lock`), its file (`sbom.spdx.json`), its kind or its digest.

    Raises:
        UsageError: there is none, or several.
    """
    there = attached(reference, access, platform)
    fitting = [it for it in there if wanted in {it.what, it.title, it.kind, it.digest}]
    if len(fitting) != 1:
        names = ", ".join(sorted({it.title or it.digest for it in fitting or there}))
        raise UsageError(
            f"`{shown(wanted)}` names {'several things' if fitting else 'nothing'} beside `{shown(reference)}`",
            hint=f"there is: {shown(names)}" if names else "nothing is attached there; `build --attach` does that",
        )
    (chosen,) = fitting
    with referrers.opened(reference, access=access) as place:
        return place.blob(referrers.file_of(chosen))
