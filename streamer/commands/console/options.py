"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

DEFAULT_CONFIG: Final = "driftline.yaml"


def config_option(help_text: str, default: str | None = DEFAULT_CONFIG) -> Callable[[Any], Any]:
    """`--config FILE`, shown with its default."""
    return click.option(
        "--config", "config_file", metavar="FILE", default=default, show_default=default is not None, help=help_text
    )
