"""The one tree of errors: what went wrong, where, how to fix it, and the exit status that says so to a script."""

from __future__ import annotations

__all__ = [
    "DiskFullError",
    "EnvparityError",
    "ExitStatus",
    "GoneError",
    "IncompleteError",
    "IntegrityError",
    "MalformedError",
    "RefusedError",
    "TargetNeededError",
    "TimeLimitError",
    "UnreachableError",
    "UnsupportedError",
    "UsageError",
    "excerpt",
    "plain",
    "worst",
]

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a script may rely on. A finding is never a failure to run, nor the other way round."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    UNFINISHED = 3
    MALFORMED = 4
    INTEGRITY = 5
    BUG = 70


_STRENGTH = (ExitStatus.INTEGRITY, ExitStatus.MALFORMED, ExitStatus.FINDINGS, ExitStatus.UNFINISHED)


def worst(*statuses: int) -> ExitStatus:
    """Several things at once went wrong: the first of 5, 4, 1, 3 is the answer (2 comes before any work)."""
    return next((status for status in _STRENGTH if status in statuses), ExitStatus.OK)


def plain(text: str) -> str:
    """A text from outside as a message may hold it: a `?` for each character that a terminal could obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def excerpt(text: str) -> str:
    """The beginning of such a text, 80 characters at the most, to say which one is meant."""
    text = plain(text)
    return text if len(text) <= 80 else text[:77] + "..."


class EnvparityError(Exception):
    """
    Anything that envparity itself has to say no to.

    Args:
        message: what could not be done, to what, and the cause, in one line.
        hint: what to try next; shown on a line of its own. Where none is given, the class's own `usual_hint`.
        details: one line each, where a single error stands for several (all wheels that cannot be locked, say).
        where: the place in the input, as `file:line` or `packages[3].wheels[0].size`; it grows while the error unwinds.
    """

    status = ExitStatus.BUG
    code = "bug"
    usual_hint = ""

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = (), where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint
        self.details = details
        self.where = where

    def __str__(self) -> str:
        return f"{self.message} (at {self.where})" if self.where else self.message

    def inside(self, where: str) -> EnvparityError:
        """The same error, one step further out: `size` inside `wheels[0]` becomes `wheels[0].size`."""
        joint = "" if not self.where or not where or self.where.startswith("[") else "."
        self.where = f"{where}{joint}{self.where}"
        return self


class UsageError(EnvparityError):
    """The command line, the configuration or a call from Python asks for something that makes no sense."""

    status = ExitStatus.USAGE
    code = "usage"
    usual_hint = "`--help` shows what is taken, with an example"


class UnsupportedError(UsageError):
    """What was asked for is sensible, and not built yet. The message names it; the hint says what does work."""

    code = "not-supported-yet"


class TargetNeededError(UsageError):
    """A file that holds several environments was asked for one, and nobody said which. The hint names the flag."""

    code = "target-needed"


class RefusedError(EnvparityError):
    """A rule says no: something cannot be locked, the model needs what the lock lacks, a policy forbids it."""

    status = ExitStatus.FINDINGS
    code = "refused"


class ConflictError(RefusedError):
    """What was asked for cannot be had beside what must not move. `details` has the chains; `moved` the pins."""

    code = "conflict"

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = (), moved: tuple[str, ...] = ()):
        super().__init__(message, hint=hint, details=details)
        self.moved = moved


class UnreachableError(EnvparityError):
    """A place or a tool that is needed cannot be reached: a host, an interpreter, a file that may not be read."""

    status = ExitStatus.UNFINISHED
    code = "unreachable"
    usual_hint = "check that it is there and that you may use it, and try again"


class GoneError(UnreachableError):
    """A server answers, and has no such thing (any more); another place may keep it."""

    code = "gone"


class RegistryRefusedError(UnreachableError):
    """A registry answers, and does not take what is sent; asking again cannot mend that."""

    code = "registry-refused"


class DiskFullError(EnvparityError):
    """Nothing more can be written; what was there before is untouched."""

    status = ExitStatus.UNFINISHED
    code = "disk-full"


class TimeLimitError(EnvparityError):
    """A step took longer than its limit; the message names the limit and the option that raises it."""

    status = ExitStatus.UNFINISHED
    code = "time-limit"


class IncompleteError(EnvparityError):
    """Something that is needed for an answer is not known, so there is no answer."""

    status = ExitStatus.UNFINISHED
    code = "incomplete"


class MalformedError(EnvparityError):
    """An input file is not what it should be: cut short, of another format, of a newer schema, hostile."""

    status = ExitStatus.MALFORMED
    code = "malformed"
    usual_hint = "it was cut, edited, or made by something else: make it again with the tool that it comes from"


class IntegrityError(EnvparityError):
    """A hash, digest, size or signature does not match what was promised."""

    status = ExitStatus.INTEGRITY
    code = "integrity"
    usual_hint = "something changed it since: fetch it or make it again, and do not use it as it is"
