"""`driftline reference`: training data to a file of training references, and what such a file holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.detect.references.build import Built
    from streamer.detect.references.table import AnyReference, Key
    from streamer.detect.references.training import TrainingData

SIZE_MAX: Final = 100_000  # values kept of a column
TRIED_MAX: Final = 50  # columns: a trial takes about a second for each column and detector
HEAD: Final = ("model", "version", "column", "values", "missing", "5 %", "median", "95 %")

BUILD_EXAMPLE = """\b
Example:
    driftline reference build s3://models/bus/training/ --out bus.reference
Then, in driftline.yaml:
    references: {file: bus.reference}
"""
SHOW_EXAMPLE = """\b
Examples:
    driftline reference show bus.reference
    driftline reference show bus.reference --model bus-099 --per-day 5000
"""


@click.group()
def reference() -> None:
    """Build and show training references: the distributions of columns in the training data."""


_TRAINING_OPTIONS: Final = (
    click.option(
        "--format", type=click.Choice(["parquet", "csv"]),
        help="The format of the training data.  [default: by the names of the files]",
    ),
    click.option(
        "--model-column", metavar="NAME", default="model_id", show_default=True, help="The column with the model."
    ),
    click.option(
        "--version-column", metavar="NAME", default="model_version", show_default=True,
        help="The column with the version. Without it, a reference serves every version that has no other.",
    ),
    click.option("--model", metavar="ID", help="The model of all rows, instead of a column."),
    click.option("--model-version", "version", metavar="ID", help="The version of all rows, instead of a column."),
    click.option(
        "--prediction", metavar="NAME", default="prediction", show_default=True,
        help="The column with the output of the model.",
    ),
    click.option(
        "--label", metavar="NAME", default="label", show_default=True,
        help="The column with the true value. With it and the prediction, `error` is computed, unless it is a column.",
    ),
    click.option(
        "--error", type=click.Choice(["absolute", "squared", "zero_one", "log_loss"]), default="absolute",
        show_default=True, help="How wrong a prediction was, as `labels.error` of the configuration.",
    ),
    click.option("--separator", metavar="CHARACTER", help="Of CSV: between cells.  [default: as the first line shows]"),
    click.option("--encoding", metavar="NAME", default="utf8", show_default=True, help="Of CSV: as in latin1."),
    click.option(
        "--type", "types", metavar="COLUMN=TYPE", multiple=True,
        help="The type of a column, text or number, as in zip=text; without it, its values decide.",
    ),
    click.option("--columns", metavar="PATTERN", multiple=True, help="Take these columns only, as in sensor_*."),
    click.option("--without", metavar="PATTERN", multiple=True, help="Leave these columns out."),
    click.option(
        "--topic", metavar="NAME", help="Name columns as the fields of this topic of the configuration are named."
    ),
    config_option("The configuration, for --topic.", default=None),
)  # fmt: skip


def _training_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_TRAINING_OPTIONS):
        command = option(command)
    return command


@reference.command(epilog=BUILD_EXAMPLE)
@click.argument("training", metavar="TRAINING...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", required=True, help="The file to write; a path or URL.")
@_training_options
@click.option(
    "--size", metavar="N", type=click.IntRange(2, 1 << 20), help="Values kept of each column.  [default: 2000]"
)
def build(training: tuple[str, ...], out: str, size: int | None, **form: Any) -> None:
    """Build a reference file from training data.

    TRAINING are files or folders, as paths or URLs (s3, gs, abfs), in Parquet or CSV; folders may be hive partitions,
    and files may differ in columns and types. They have a column with the model, optionally one with its version, and
    a column of numbers or text for each feature. Columns `prediction` and `error` are compared too; `error` is computed
    from prediction and label. An index of pandas, keys, times and the label are no features. What can't be compared is
    left out and named. The same data give the same file.
    """
    from streamer.app.folds import reference_size_by_default
    from streamer.detect.references.build import references_from
    from streamer.detect.references.file import write_references

    built = references_from(_training_data(training, **form), size or reference_size_by_default())
    write_references(out, built.by_series)
    echo_line(f"{out}: {summary_text(built)}")
    for name, reason in built.left_out:
        echo_line(f"left out: {name}: {reason}")


def _training_data(
    training: tuple[str, ...], types: tuple[str, ...], topic: str | None, config_file: str | None, **form: Any
) -> TrainingData:
    """The training data of the options. Raises `UsageError`."""
    from streamer.detect.references.training import KINDS, TrainingData
    from streamer.detect.settings import ErrorKind

    pairs = [text.rpartition("=")[::2] for text in types]
    for column, kind in pairs:
        if not column or kind not in KINDS:
            raise UsageError(f"--type {column}={kind}: give COLUMN=TYPE, where TYPE is {' or '.join(KINDS)}")
    if form["separator"] == "\\t":
        form["separator"] = "\t"
    if form["separator"] is not None and len(form["separator"]) != 1:
        raise UsageError(f"--separator {form['separator']!r} must be one character")
    form["error"] = ErrorKind(form["error"])
    if topic is not None:
        form |= _as_topic(topic, config_file)
    return TrainingData(training, types=dict(pairs), **form)


def _as_topic(topic: str, config_file: str | None) -> dict[str, Any]:
    """The names of columns by the fields of a topic: of each path, the last name. Raises `UsageError`."""
    from streamer.codecs.field_paths import FieldMap, parse_path
    from streamer.config import load_config

    config = load_config(config_file or "driftline.yaml", needs=())
    if topic not in config.topics:
        raise UsageError(f"--topic {topic}: the configuration has {', '.join(config.topics) or 'no topics'}")
    fields: FieldMap = config.topics[topic].fields
    paths, constants = fields.paths(), fields.constants()
    found: dict[str, Any] = {}
    for name, column in (("model_id", "model_column"), ("model_version", "version_column")):
        if name in constants:
            found[column.removesuffix("_column")] = constants[name]
        elif name in paths and isinstance(paths[name][-1], str):
            found[column] = paths[name][-1]
    found |= {name: str(paths[name][-1]) for name in ("prediction", "label") if name in paths}
    named = {"prediction": paths["prediction"]} if "prediction" in paths else {}
    if isinstance(fields.features, dict):
        named |= {name: parse_path(path, name) for name, path in fields.features.items()}
    return found | {"names": {str(path[-1]): name for name, path in named.items() if isinstance(path[-1], str)}}


def summary_text(built: Built) -> str:
    """A reference file on one line."""
    models, versions = {model for model, _, _ in built.by_series}, {key[:2] for key in built.by_series}
    return (
        f"{len(built.by_series):,} columns of {len(versions):,} versions of {len(models):,} models, "
        f"from {built.rows:,} rows"
    )


@reference.command(epilog=SHOW_EXAMPLE)
@click.argument("file", metavar="FILE")
@click.option("--model", metavar="ID", help="Show this model only.")
@click.option("--column", metavar="NAME", help="Show this column only.")
@click.option(
    "--per-day", metavar="N", type=click.IntRange(1),
    help="Also find, by trial, the smallest shift that is detected in a day of N values of a column.",
)  # fmt: skip
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="The configuration with the detectors.  [default: the default detectors]",
)
def show(file: str, model: str | None, column: str | None, per_day: int | None, config_file: str | None) -> None:
    """Show the references in FILE: one line for each column, in its units; of categories, the most frequent.

    A shift counts as detected if 8 of 10 series with such values alarm within a day. With small training data, or a low
    rate of false alarms, only large shifts are detected.
    """
    from detectors.reference import Reference
    from streamer.commands.console.text_table import table
    from streamer.config import Config, load_config
    from streamer.detect.references.table import load_references

    config = Config() if config_file is None else load_config(config_file, needs=())
    there = load_references(file, SIZE_MAX).by_series
    found = {key: there[key] for key in sorted(there) if model in (None, key[0]) and column in (None, key[2])}
    if not found:
        raise UsageError(f"{file}: holds no such column; leave out --model and --column to show all")
    if per_day and len(found) > TRIED_MAX:
        raise UsageError(f"{file}: {len(found):,} columns take too long to try: name --model or --column")
    columns = Counter(key[:2] for key, one in there.items() if isinstance(one, Reference))
    for line in table(list(_rows(found, columns, config.watching, per_day))):
        echo_line(line)


def _rows(
    found: Mapping[Key, AnyReference],
    columns: Mapping[tuple[str, str], int],
    watching: Mapping[str, Any],
    per_day: int | None,
) -> Iterator[list[str]]:
    """The table. The `columns` of a version of a model share the rate of false alarms."""
    from detectors.power import watches_numbers

    trying = [name for name in watching if per_day and watches_numbers(name, watching[name])]
    yield [*HEAD, *(f"seen by {name}" for name in trying)]
    for (model, version, column), one in found.items():
        missing = f"{one.n_missing / (one.n_seen + one.n_missing):.1%}"
        row = [model, version or "any", column, f"{one.n_seen:,}", missing]
        yield row + _details(one, {name: watching[name] for name in trying}, per_day or 0, columns[model, version])


def _details(one: AnyReference, trying: Mapping[str, Any], per_day: int, columns: int) -> list[str]:
    import numpy as np

    from detectors.power import shift_seen
    from detectors.reference import Reference

    if not isinstance(one, Reference):
        most = sorted(zip(one.counts.tolist(), one.names, strict=True), key=lambda c: (-c[0], c[1]))[:3]
        return [f"{name} {n / one.n_seen:.0%}" for n, name in most] + [""] * (3 - len(most) + len(trying))
    deviation = float(np.std(one.values))
    shifts = [shift_seen(name, settings, one.values, per_day, columns) for name, settings in trying.items()]
    return [f"{x:.6g}" for x in np.quantile(one.values, (0.05, 0.5, 0.95))] + [
        f"{shift * deviation:.3g} ({shift:.2f} sd)" if shift else "none" for shift in shifts
    ]
