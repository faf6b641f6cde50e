"""The names in `detectors`: the detectors that run instead of the default ones, or beside them (`+ks_window`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from detectors.registry import DEFAULT
from streamer.config.models import Config
from streamer.config.yaml_file import Document

ADDED: Final = "+"  # begins a name that is added to the default detectors


def resolve_detectors(document: Document) -> set[str]:
    """Put the default detectors into the document where its names are added to them, or where it names none.

    Returns the default detectors whose settings the document leaves alone.
    """
    named = document.data.get("detectors")
    defaults = {name: dict(options) for name, options in DEFAULT.items()}
    if named is None:
        document.data["detectors"] = defaults
        return set(defaults)
    if not isinstance(named, dict) or not any(name.startswith(ADDED) for name in named):
        return set()
    given: dict[str, Any] = {}
    for name, settings in named.items():
        plain = name.removeprefix(ADDED)
        if plain == name or plain in given:
            fault = f"is named without {ADDED}, others with it" if plain == name else "is named twice"
            advice = f"write {ADDED} before all names to add them to the default detectors, or before none"
            document.problems.append(document.problem(("detectors", name), f"{fault}; {advice}"))
        given[plain] = settings
        _move_marks(document, name, plain)
    settings_of = {name: _merged(defaults.get(name), settings) for name, settings in given.items()}
    document.data["detectors"] = {**defaults, **settings_of}
    return set(defaults) - set(given)


def default_detectors_off(config: Config) -> Iterator[str]:
    """One line where the named detectors replace default ones, with the way to have both."""
    off = [name for name in DEFAULT if name not in config.detectors]
    running = list(config.detectors)
    if off and running:
        verb = "runs" if len(running) == 1 else "run"
        plural, are = ("", "is") if len(off) == 1 else ("s", "are")
        added = listed([ADDED + name for name in running if name not in DEFAULT] or [ADDED + running[0]])
        yield (
            f"detectors: only {listed(running)} {verb}; the default{plural} {listed(off)} {are} off; "
            f"write {added} to add to the defaults"
        )


def listed(names: list[str]) -> str:
    """The names as a list in a sentence: `a, b and c`."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def _merged(defaults: dict[str, Any] | None, settings: Any) -> Any:
    if defaults is None or not isinstance(settings, dict | None):
        return settings
    return {**defaults, **(settings or {})}


def _move_marks(document: Document, name: str, plain: str) -> None:
    """Let problems of the setting `plain` find the place of `name`."""
    for path, mark in [*document.marks.items()]:
        if path[:2] == ("detectors", name):
            document.marks["detectors", plain, *path[2:]] = mark
