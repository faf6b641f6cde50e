"""Examples in the pages work: configurations load, commands exist with their options, JSON can be read."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import click
import pytest
from project_tree import ROOT, files

from streamer.cli import main
from streamer.config import load_config

PAGES = [path for path in files() if path.suffix == ".md" and (path.parts[0] == "docs" or path.name == "README.md")]
GLOSSARY = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8").split("## Glossary")[1]


def blocks(language: str) -> list[pytest.param]:
    """Every block of code in this language, over all pages."""
    return [
        pytest.param(text, id=f"{page}-{number}")
        for page in PAGES
        for number, text in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
        )
    ]


def typed(console: str) -> Iterator[list[str]]:
    """The words of each command of ours that is typed in it; what a pipe or a redirection adds is left out."""
    for line in re.findall(r"^\$ (.*)$", console.replace("\\\n", " "), re.MULTILINE):
        words = shlex.split(line, comments=True)
        ours = [place for place, word in enumerate(words) if word.rpartition("/")[2] == "driftline"]
        for start in ours[:1]:
            ends = [place for place, word in enumerate(words) if word in {"|", ">", "|&"} and place > start]
            yield words[start + 1 : min(ends, default=len(words))]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_configurations_load(text, tmp_path):
    """Each example of a configuration is one, or a part of one."""
    (tmp_path / "driftline.yaml").write_text(text)
    load_config(str(tmp_path / "driftline.yaml"), environ={}, needs=())


@pytest.mark.parametrize("text", blocks("json"))
def test_json_can_be_read(text):
    """Each example of records is JSON, one object after the other."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        record, end = decoder.raw_decode(rest)
        assert isinstance(record, dict)
        rest = rest[end:].strip()


@pytest.mark.parametrize("text", blocks("console"))
def test_commands_can_be_typed(text):
    """Each command that is shown parses, with the options and arguments that are shown."""
    for words in typed(text):
        command: click.Command = main
        name = "driftline"
        while isinstance(command, click.Group):
            name = words.pop(0)
            found = command.get_command(click.Context(command), name)
            assert found is not None, name
            command = found
        command.make_context(name, words)


def test_the_glossary_is_in_order():
    """Terms stand in the order of the alphabet, each once, with one sentence or two of at most 25 words each."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", GLOSSARY, re.MULTILINE)[1:]
    terms = [term.strip("`").lower() for term, _ in rows]
    assert len(terms) > 80
    assert terms == sorted(set(terms))
    sentences = [one for _, text in rows for one in re.split(r"(?<=\.)\s", text)]
    assert [one for one in sentences if len(one.split()) > 25 or not one.endswith(".")] == []
