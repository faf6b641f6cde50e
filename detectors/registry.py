"""The table of detectors.

A detector has its room `detectors/<name>/` with two classes. One is a frozen settings dataclass, whose `__post_init__`
raises ValueError for bad settings. The other is made from those settings and is a `base.Bank`. One line in `DETECTORS`
adds the detector: configurations, reference pages and `tests/detectors` read the table, so it can be configured, is
documented, and is held to `detectors/checks.py`.

Other packages add detectors by entry points of the group `driftline.detectors`:

    [project.entry-points."driftline.detectors"]
    my_detector = "my_package.my_detector:DETECTOR"

`DETECTOR` is a `Detector` with the settings class and the bank class. A configuration names it like a detector of this
package. A plug-in that cannot be loaded is an error only where it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from typing import Any, Final

from detectors.adwin.bank import AdwinBank, AdwinSettings
from detectors.base import Bank
from detectors.categories.rates import CategoryRatesBank, CategoryRatesSettings
from detectors.categories.window import CategoryWindowBank, CategoryWindowSettings
from detectors.joint.bank import JointBank, JointSettings
from detectors.ks.sliding import ks_bank
from detectors.ks.window import KsWindowSettings
from detectors.rate.bank import RateBank, RateSettings
from detectors.river.bank import RiverBank
from detectors.river.catalog import RIVER
from detectors.shiryaev_roberts.bank import ShiryaevRobertsBank, ShiryaevRobertsSettings

# of a setting, as its dataclass spells it -> what it may be, and the words for it; others are not checked
_TYPES: Final[Mapping[str, tuple[Any, str]]] = {
    "float": (Real, "a number"),
    "int": (Integral, "a whole number"),
    "bool": (bool, "True or False"),
}
PLUGINS: Final = "driftline.detectors"  # the group of entry points


@dataclass(frozen=True, slots=True)
class Detector:
    """The parts of a detector."""

    settings: type[Any]  # frozen dataclass; every field has a default
    bank: Callable[[Any, int], Bank]  # from the settings and the number of rows
    by_default: bool = False  # whether it runs where a configuration names no detectors ...
    options: Mapping[str, Any] = field(default_factory=dict)  # ... and then with these settings in place of defaults


DETECTORS: dict[str, Detector] = {
    # With thousands of columns, drift too small to matter should raise no alarm.
    "shiryaev_roberts": Detector(ShiryaevRobertsSettings, ShiryaevRobertsBank, True, {"arl0": 1e6, "tolerance": 0.01}),
    "category_rates": Detector(CategoryRatesSettings, CategoryRatesBank, True),
    "rate": Detector(RateSettings, RateBank, True),
    "adwin": Detector(AdwinSettings, AdwinBank),
    "ks_window": Detector(KsWindowSettings, ks_bank),
    # Not by default: categories often occur in long runs (the weather, the shift), which raise false alarms.
    "category_window": Detector(CategoryWindowSettings, CategoryWindowBank),
    "joint": Detector(JointSettings, JointBank),
    **{name: Detector(kind.settings, RiverBank) for name, kind in RIVER.items()},
}
DEFAULT = {name: known.options for name, known in DETECTORS.items() if known.by_default}


class UnknownNameError(ValueError):
    """No detector, or no setting of a detector, has this name."""


def bank(name: str, settings: Any, rows: int) -> Bank:
    """A bank of the named detector for so many series.

    Raises `UnknownNameError` for a name that is not in `DETECTORS`, TypeError for settings of another detector.
    """
    known = _known(name)
    if not isinstance(settings, known.settings):
        raise TypeError(f"{name} takes {known.settings.__name__}, got {type(settings).__name__}")
    return known.bank(settings, rows)


def settings_of(name: str, **options: Any) -> Any:
    """The settings of the named detector, its defaults but for the options given.

    Raises `UnknownNameError` for an unknown detector or option, ValueError for an option of another type or out of
    range.
    """
    settings = _known(name).settings
    types = {field.name: str(field.type) for field in fields(settings)}
    for option, value in options.items():
        if option not in types:
            raise UnknownNameError(f"{name} has no setting {option!r}; {_hint(option, types)}")
        wanted, word = _TYPES.get(types[option], (object, ""))
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted in (Real, Integral)):
            raise ValueError(f"{name}: {option} must be {word}, got {value!r} of type {type(value).__name__}")
    return settings(**options)


def _known(name: str) -> Detector:
    if name in UNUSABLE:
        raise UnknownNameError(f"the detector {name!r} can't be used: {UNUSABLE[name]}")
    if name not in DETECTORS:
        raise UnknownNameError(f"there is no detector {name!r}; {_hint(name, DETECTORS)}")
    return DETECTORS[name]


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def load_plugins(taken: Collection[str]) -> tuple[dict[str, Detector], dict[str, str]]:
    """The detectors of all entry points by name, in order of names; and a sentence by name of those that are unusable.

    An entry point is usable if it is a `Detector`, under a name that is not `taken`.
    """
    found: dict[str, Detector] = {}
    problems: dict[str, str] = {}
    for entry in sorted(entry_points(group=PLUGINS), key=lambda entry: (entry.name, entry.value)):
        problem = _problem(entry, {*taken, *found})
        if problem is None:
            found[entry.name] = entry.load()
        elif entry.name not in taken:
            problems[entry.name] = f"{entry.value} of {entry.dist.name if entry.dist else '?'} {problem}"
    return found, problems


def _problem(entry: EntryPoint, taken: Collection[str]) -> str | None:
    """Why this entry point is unusable; None if it is usable."""
    if entry.name in taken:
        return "has the name of another detector"
    try:
        loaded = entry.load()
    except Exception as error:  # whatever another package's import may raise
        return f"can't be loaded: {type(error).__name__}: {error}"
    return (
        None
        if isinstance(loaded, Detector)
        else f"is of type {type(loaded).__name__}, and must be a detectors.registry.Detector"
    )


# At the end, because plug-ins import this module. Installing one changes nothing: it runs where it is named.
_plugins, UNUSABLE = load_plugins(DETECTORS)
DETECTORS |= {name: replace(known, by_default=False) for name, known in _plugins.items()}
