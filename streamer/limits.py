"""How much producers can make a fold unit remember."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what producers can make a fold unit remember."""

    models_max: int = 65_536  # models, and versions
    columns_max: int = 65_536  # distinct column names over all models
    categories_max: int = 1_048_576  # distinct category texts over all columns
    series_max: int = 4_194_304  # columns of models

    def __post_init__(self) -> None:
        # Two columns are ours. Above, models and versions must fit the key of a subject, the rest 32 bits.
        least_and_most = {
            "models_max": (1, 1 << 23), "columns_max": (2, 1 << 30), "categories_max": (1, 1 << 30),
            "series_max": (1, 1 << 30),
        }  # fmt: skip
        for name, (least, most) in least_and_most.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be {least} to {most:,}, not {getattr(self, name)}")
