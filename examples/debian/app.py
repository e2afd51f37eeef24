"""The processor of the example: checks an entry of the Debian archive and classifies it by section and priority.

    windlass up --app examples.debian.app

The rules are from Debian Policy (the sections are named with each) and from the Developer's Reference, 6.2.2, on
synopses. They are strict where those say "must" or "should", so some per cent of a real release fail; an entry fails
with its first offence, in the order of `RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic import BaseModel, NonNegativeInt

from windlass.contexts.records.api import Outcome, Rejected, processor

RULES_NAME = "debian-1"
"""Names the rules in every result; a change of the rules is a new name."""

SYNOPSIS_LENGTH = 80
PRIORITIES = {"required": 10, "important": 7, "standard": 5, "optional": 2}
"""Priorities of Policy 2.5, and the score each gives; what has an https homepage gets one more."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"(\d+:)?\d[A-Za-z0-9.+~:-]*")
_MAINTAINER = re.compile(r"[^<>]+ <[^<>@\s]+@[^<>@\s]+>")
_ARTICLE = re.compile(r"(an?|the) ", re.IGNORECASE)

AREAS = {
    "library": "libs libdevel oldlibs introspection",
    "language": "cli-mono golang gnu-r haskell interpreters java javascript lisp ocaml perl php python ruby rust",
    "development": "debug devel embedded vcs",
    "desktop": "fonts games gnome gnustep graphics kde sound video x11 xfce",
    "server": "comm database httpd mail net news web zope",
    "system": "admin kernel metapackages otherosfs shells tasks utils",
    "science": "education electronics hamradio math science",
    "text": "doc editors localization tex text",
    "other": "misc",
}
"""The sections of the archive (Policy 2.4), by what they are about."""

_AREA = {section: area for area, sections in AREAS.items() for section in sections.split()}


class Entry(BaseModel):
    """What an entry has to say; a record without it fails before any rule is asked, with the field's name.

    Policy 5.3 wants these fields of a binary package, its sizes aside: those we need.
    """

    package: str
    version: str
    architecture: str
    maintainer: str
    synopsis: str
    section: str
    priority: str
    essential: str = "no"
    homepage: str = ""
    installed_size: NonNegativeInt
    size: NonNegativeInt

    @property
    def section_name(self) -> str:
        """The section without the archive's area: `net` of `contrib/net`."""
        return self.section.rpartition("/")[2]


def bad_name(entry: Entry) -> str | None:
    """Policy 5.6.1: lower case letters, digits, plus, minus and points, at least two characters."""
    return None if _PACKAGE.fullmatch(entry.package) else "invalid package name"


def bad_version(entry: Entry) -> str | None:
    """Policy 5.6.12: [epoch:]upstream[-revision], the upstream version begins with a digit."""
    return None if _VERSION.fullmatch(entry.version) else "invalid version"


def bad_maintainer(entry: Entry) -> str | None:
    """Policy 5.6.2: one name and one address; more people belong into Uploaders."""
    return None if _MAINTAINER.fullmatch(entry.maintainer) else "maintainer is not one name and address"


def unknown_section(entry: Entry) -> str | None:
    """Policy 2.4: the sections are a list; outside of main they follow the area's name and a slash."""
    return None if entry.section_name in _AREA else "unknown section"


def bad_priority(entry: Entry) -> str | None:
    """Policy 2.5: there are four priorities; "extra" was given up in 2017."""
    if entry.priority == "extra":
        return "priority extra is deprecated"
    return None if entry.priority in PRIORITIES else "unknown priority"


def essential_but_optional(entry: Entry) -> str | None:
    """Policy 2.5: what the system cannot do without has the priority that says so."""
    optional = entry.essential == "yes" and entry.priority != "required"
    return "essential but not required" if optional else None


def bad_synopsis(entry: Entry) -> str | None:
    """Policy 3.4 and Developer's Reference 6.2.2: a short phrase, no sentence, that begins with no article."""
    synopsis = entry.synopsis
    if len(synopsis) >= SYNOPSIS_LENGTH:
        return f"synopsis has {SYNOPSIS_LENGTH} characters or more"
    if synopsis.endswith("."):
        return "synopsis ends with a full stop"
    return "synopsis begins with an article" if _ARTICLE.match(synopsis) else None


def bad_homepage(entry: Entry) -> str | None:
    """Policy 5.6.23: a homepage is there for people; they no longer come by FTP."""
    homepage = entry.homepage
    return None if not homepage or homepage.startswith(("https://", "http://")) else "homepage is no web address"


def misplaced_transition(entry: Entry) -> str | None:
    """Developer's Reference 6.7.7: an empty package that only eases a transition belongs into oldlibs."""
    misplaced = "transitional" in entry.synopsis.lower() and entry.section_name != "oldlibs"
    return "transitional package outside of oldlibs" if misplaced else None


RULES: tuple[Callable[[Entry], str | None], ...] = (
    bad_name,
    bad_version,
    bad_maintainer,
    unknown_section,
    bad_priority,
    essential_but_optional,
    bad_synopsis,
    bad_homepage,
    misplaced_transition,
)


@processor("*")
def classify(entry: Entry) -> Outcome:
    """Check an entry against the rules; classify it by the area its section is in, and by its priority.

    Raises:
        Rejected: a rule is broken; the reason says which.
    """
    for rule in RULES:
        reason = rule(entry)
        if reason:
            raise Rejected(reason)
    classification = "base" if entry.priority != "optional" else _AREA[entry.section_name]
    secure = entry.homepage.startswith("https://")
    score = PRIORITIES[entry.priority] + secure
    result = {
        "classification": classification,
        "score": score,
        "rules": RULES_NAME,
        "area": _AREA[entry.section_name],
        "priority": entry.priority,
        "installed_kib": entry.installed_size,
        "secure_homepage": secure,
    }
    return Outcome(classification, score, result)
