"""How much producers can make a fold unit remember."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.durations import seconds_of


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what producers can make a fold unit remember.

    forget_after: models, and versions of them, of which nothing came for so long in event time are forgotten once a
        table is more than half full: a number and s, m, h, d or w; 0 or null: never. At least `labels.timeout_s`.
    """

    models_max: int = 65_536  # models, and versions
    columns_max: int = 65_536  # distinct column names over all models
    categories_max: int = 1_048_576  # distinct category texts over all columns
    series_max: int = 4_194_304  # columns of models
    forget_after: str | int | None = "90d"

    def __post_init__(self) -> None:
        # Two columns are ours. Above, models and versions must fit the key of a subject, the rest 32 bits.
        least_and_most = {
            "models_max": (1, 1 << 23), "columns_max": (2, 1 << 30), "categories_max": (1, 1 << 30),
            "series_max": (1, 1 << 30),
        }  # fmt: skip
        for name, (least, most) in least_and_most.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be {least} to {most:,}, not {getattr(self, name)}")
        if isinstance(self.forget_after, str) and self.forget_after != "0":
            try:
                seconds_of(self.forget_after)
            except ValueError as problem:
                raise ValueError(f"forget_after must be a span of time: {problem}") from None
        elif self.forget_after not in {0, "0", None}:
            raise ValueError(f"forget_after must be like 90d, 0 or null, not {self.forget_after}")

    @property
    def forget_after_s(self) -> int:
        """In seconds; 0: never."""
        return seconds_of(self.forget_after) if isinstance(self.forget_after, str) and self.forget_after != "0" else 0
