"""The schema for editors and the reference page tell the truth about the models."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from streamer.config.docs import page
from streamer.config.schema import config_schema, names_at, settings

CASES = Path(__file__).parent / "cases"


def parsed(name: str) -> object:
    return YAML(typ="safe", pure=True).load((CASES / f"{name}.yaml").read_text())


def accepted(name: str) -> bool:
    return not (CASES / f"{name}.expected").read_text()


def test_the_schema_is_a_schema():
    """It is valid JSON Schema 2020-12."""
    jsonschema.Draft202012Validator.check_schema(config_schema())


@pytest.mark.parametrize(
    "name",
    ["smallest", "everything", "anchors-and-merge", "bootstrap-ipv6", "features-as-mapping", "durations-with-units"],
)
def test_the_schema_accepts_what_is_accepted(name):
    """Editors show no error in a configuration that loads."""
    assert accepted(name)
    data = {key: value for key, value in parsed(name).items() if value is not None}
    jsonschema.validate(data, config_schema())


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted(CASES.glob("unknown-*.yaml")) + sorted(CASES.glob("type-*.yaml"))]
)
def test_the_schema_refuses_what_is_refused(name):
    """Unknown settings and wrong types show in an editor too."""
    if name == "type-infinite":  # JSON has no infinity to forbid
        return
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(parsed(name), config_schema())


def test_every_setting_is_explained():
    """Each setting has a description, from the comment or docstring beside its definition."""
    assert [".".join(s.path) for s in settings() if not s.schema.get("description")] == []


def test_every_setting_is_on_the_page():
    """The reference page has one row for each setting."""
    text = page()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(list(settings())) > 50
    assert all(f"## {section}\n" in text for section in names_at(()))


def test_every_row_is_one_line():
    """No description breaks a table: each line that begins a row ends it."""
    lines = page().splitlines()
    assert [line for line in lines if line.startswith("|") != line.endswith("|")] == []
