"""How a storm, or the incident of a source, stands with the person who decides about it."""

from __future__ import annotations

from enum import StrEnum


class Hold(StrEnum):
    """What becomes of drift that many models share.

        free ─ many models ─► held ─ approve ─► released
                                └─── reject ──► dismissed

    A storm starts as held; the incident of a source starts as free. Both are dropped when they are quiet.
    """

    FREE = "free"  # few models use the source: each gets a request if its own rules agree
    HELD = "held"  # no requests until a person decides
    RELEASED = "released"  # as if there were few models
    DISMISSED = "dismissed"  # no requests
