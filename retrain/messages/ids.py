"""Ids derived from what they identify: the same input gives the same id, in every run and on every machine."""

from __future__ import annotations

import re
from hashlib import blake2b

SOURCE_PREFIX = "source:"  # of the model id of a feature source
FLEET_PREFIX = "fleet:"  # of the model id of a storm

ID_CHARS_MAX = 63  # a label of RFC 1123: usable as a job name, a DAG run id, an idempotency key
_DIGEST_BYTES = 8
_OTHERS = re.compile(r"[^a-z0-9]+")


def derived_id(kind: str, *parts: str, name: str = "") -> str:
    """`<kind>-<16 hex digits>`, or `<kind>-<slug of name>-<16 hex digits>`.

    The digits are a hash of `kind` and `parts`; the slug is for people only. `kind` must consist of `[a-z0-9-]`, begin
    with a letter or digit, and have fewer than 45 characters. The id then consists of `[a-z0-9-]`, begins and ends with
    a letter or digit, and has at most 63 characters, for all parts and names.
    """
    data = [part.encode("utf-8", "surrogatepass") for part in (kind, *parts)]
    # The length keeps ("ab", "c") apart from ("a", "bc").
    hashed = b"".join([len(one).to_bytes(8, "big") + one for one in data])
    digits = blake2b(hashed, digest_size=_DIGEST_BYTES).hexdigest()
    slug = slug_of(name, ID_CHARS_MAX - len(kind) - len(digits) - 2) if name else ""
    return f"{kind}-{slug}-{digits}" if slug else f"{kind}-{digits}"


def slug_of(name: str, chars_max: int) -> str:
    """The letters a to z and digits of a name in lower case, with single hyphens between; "" when it has none."""
    return _OTHERS.sub("-", name.lower()).strip("-")[:chars_max].rstrip("-")
