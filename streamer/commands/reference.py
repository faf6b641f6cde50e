"""`driftline reference build`: training data to a file of training references."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.reference_show import show
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.references.build import Built

EXAMPLE = """\b
Example:
    driftline reference build s3://models/bus/training/ --out bus.reference
Then, in driftline.yaml:
    references: {file: bus.reference}
"""


@click.group()
def reference() -> None:
    """Build and show training references: the distributions of columns in the training data."""


reference.add_command(show)


@reference.command(epilog=EXAMPLE)
@click.argument("training", metavar="TRAINING...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", required=True, help="The file to write; a path or URL.")
@click.option(
    "--format", "kind", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True,
    help="The format of the training data.",
)  # fmt: skip
@click.option(
    "--model-column", metavar="NAME", default="model_id", show_default=True, help="The column with the model."
)
@click.option(
    "--version-column", metavar="NAME", default="model_version", show_default=True,
    help="The column with the version. Without it, a reference serves every version that has no other.",
)  # fmt: skip
@click.option("--model", metavar="ID", help="The model of all rows, instead of a column.")
@click.option("--model-version", metavar="ID", help="The version of all rows, instead of a column.")
@click.option(
    "--size", metavar="N", type=click.IntRange(2, 1 << 20), help="Values kept of each column.  [default: 2000]"
)
def build(
    training: tuple[str, ...],
    out: str,
    kind: str,
    model_column: str,
    version_column: str,
    model: str | None,
    model_version: str | None,
    size: int | None,
) -> None:
    """Build a reference file from training data.

    TRAINING are files or folders, as paths or URLs (s3, gs, abfs), in Parquet or CSV. They have a column with the
    model, optionally one with its version, and a column of numbers or text for each feature. Columns `prediction` and
    `error` are compared too. The same data give the same file.
    """
    from streamer.app.folds import reference_size_by_default
    from streamer.references.build import TrainingData, references_from
    from streamer.references.file import write_references

    data = TrainingData(training, kind, model_column, version_column, model, model_version)
    built = references_from(data, size or reference_size_by_default())
    if not built.by_series:
        raise UsageError(f"{', '.join(training)}: no column holds a value; name training data with values")
    write_references(out, built.by_series)
    echo_line(f"{out}: {summary_text(built)}")


def summary_text(built: Built) -> str:
    """A reference file on one line."""
    models, versions = {model for model, _, _ in built.by_series}, {key[:2] for key in built.by_series}
    text = (
        f"{len(built.by_series):,} columns of {len(versions):,} versions of {len(models):,} models, "
        f"from {built.rows:,} rows"
    )
    return f"{text}; ignored, as neither numbers nor text: {', '.join(built.ignored)}" if built.ignored else text
