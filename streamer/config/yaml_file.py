"""A YAML file as plain data with line numbers.

YAML 1.2 through the node tree of ruamel: every key has its line and column, duplicate keys are found, `1e-5` is a
number, and `yes` is text. Anchors, aliases and merge keys (`<<`) work; tags do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from streamer.config.problems import ConfigError, Problem, SettingPath

FILE_BYTES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 20
NODES_MAX: Final = 100_000  # aliases multiply: a few lines can expand to billions of nodes

_SCALARS: Final = {"str", "null", "bool", "int", "float", "timestamp"}
_MESSAGES: Final = (
    (
        r"mapping values are not allowed here",
        "a key can't start here; check the indentation, or quote a text that holds ': '",
    ),
    (r"found undefined alias '?(\w+)'?", r"the alias *\1 has no anchor &\1 before it"),
    (r"but found another document", "a second document begins here; keep one document, without '---' in between"),
    (r"found unexpected end of stream", "the quoted text that begins here is never closed"),
    (r"expected ',' or '(.)', but got .*", r"expected ',' or '\1'; the bracket it belongs to opens on line {opened}"),
    (r"expected <block end>, but found .*", "this line does not fit the one before; check its indentation"),
    (r"could not find expected ':'", "expected 'key: value'; a ':' is missing here or on the line before"),
    (r"found character '(.)' that cannot start any token", r"text can't begin with \1; quote it"),
)


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A place in the file; line and column count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """The content of a file: plain data, the place of each key, and the problems of its YAML."""

    source: str
    data: dict[str, Any] = field(default_factory=dict)
    marks: dict[SettingPath, FilePosition] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    variables: dict[SettingPath, str] = field(default_factory=dict)  # settings from elsewhere, with their source

    def mark_of(self, path: SettingPath) -> FilePosition | None:
        """The place of the setting, or of the nearest section around it."""
        while path:
            if path in self.marks:
                return self.marks[path]
            path = path[:-1]
        return None

    def problem(self, path: SettingPath, message: str, suggestion: str | None = None) -> Problem:
        """A problem of the setting at `path`, at the place of its value."""
        if path in self.variables:
            return Problem(self.variables[path], path, None, None, message, suggestion)
        mark = self.mark_of(path)
        line, column = (mark.line, mark.column) if mark else (None, None)
        return Problem(self.source, path, line, column, message, suggestion)


def read_document(path: str) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises `ConfigError` when the file is unreadable; other faults go to `problems`.
    """
    document = Document(source=path)
    text = _read_text(document)
    node = _compose(document, text)
    if node is None:
        raise _refusal(document, "the file is empty; `driftline check-config --help` shows an example")
    if not isinstance(node, MappingNode):
        raise _refusal(document, f"expected sections (`kafka:`, `topics:`, …) at the top, got {_shape(node)}", 1)
    document.data = _Builder(document).build(node)
    return document


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted YAML scalar, so that variables have the syntax of the file; None if empty."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except YAMLError:
        return text
    if node is None:
        return None
    return _scalar(node) if isinstance(node, ScalarNode) else text


def _read_text(document: Document) -> str:
    path = Path(document.source)
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise _refusal(document, "no such file; name one with --config") from None
    except OSError as error:
        raise _refusal(document, f"can't be read: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise _refusal(document, f"is larger than {FILE_BYTES_MAX:,} bytes; name a configuration file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(document, "is not UTF-8 text", raw.count(b"\n", 0, error.start) + 1) from None


def _compose(document: Document, text: str) -> Node | None:
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise _syntax_refusal(document, text, error) from None
    except RecursionError:
        raise _refusal(document, f"is nested deeper than {DEPTH_MAX} levels") from None
    except YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise _refusal(document, "holds a control character that YAML does not allow", line) from None
    return node


def _syntax_refusal(document: Document, text: str, error: MarkedYAMLError) -> ConfigError:
    said = str(error.problem or error.context or "")
    opened, found = error.context_mark or error.problem_mark, error.problem_mark or error.context_mark
    at = opened if "end of stream" in said else found
    lines = text.splitlines()
    here = lines[at.line] if at and at.line < len(lines) else ""
    message = f"is not YAML: {said}"
    for pattern, words in _MESSAGES:
        if match := re.search(pattern, said):
            message = match.expand(words).replace("{opened}", str(opened.line + 1 if opened else 1))
    if "\t" in here[: len(here) - len(here.lstrip())]:
        message = "a tab indents this line; YAML wants spaces"
    return _refusal(document, message, at.line + 1 if at else None, at.column + 1 if at else None)


def _refusal(document: Document, message: str, line: int | None = None, column: int | None = None) -> ConfigError:
    return ConfigError([Problem(document.source, (), line, column, message)])


class _Builder:
    """Walks the node tree once, and collects the marks and problems of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def build(self, node: Node, path: SettingPath = ()) -> Any:
        self.nodes += 1
        if len(path) > DEPTH_MAX:
            raise _refusal(self.document, f"is nested deeper than {DEPTH_MAX} levels", _mark(node).line)
        if self.nodes > NODES_MAX:
            raise _refusal(self.document, f"expands to more than {NODES_MAX:,} values", _mark(node).line)
        tag = _kind(node)
        if isinstance(node, MappingNode) and tag == "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and tag == "seq":
            return self._sequence(node, path)
        if isinstance(node, ScalarNode) and tag in _SCALARS:
            return _scalar(node)
        self._complain(node, path, f"tags such as {_short(node)} are not supported")
        return None

    def _mapping(self, node: MappingNode, path: SettingPath) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if _kind(key_node) == "merge":
                merged |= self._merged(value_node, path)
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(key_node, path, "a key must be text")
            elif _kind(key_node) != "merge":
                self._entry(own, key_node, value_node, path)
        return {**merged, **own}

    def _entry(self, own: dict[str, Any], key_node: ScalarNode, value_node: Node, path: SettingPath) -> None:
        key = str(key_node.value)
        place = (*path, key)
        if key in own:
            first = self.document.marks[place].line
            self._complain(key_node, place, f"is given twice, first on line {first}; keep one")
            return
        self.document.marks[place] = _mark(key_node)
        own[key] = self.build(value_node, place)

    def _merged(self, node: Node, path: SettingPath) -> dict[str, Any]:
        """The keys from `<<: *anchor`, or from a list of them, in which the first takes precedence."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        result: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, MappingNode):
                self._complain(source, path, "'<<' takes the alias of a mapping")
                continue
            result = {**self.build(source, path), **result}
        return result

    def _sequence(self, node: SequenceNode, path: SettingPath) -> list[Any]:
        items = []
        for i, item in enumerate(node.value):
            self.document.marks[(*path, i)] = _mark(item)
            items.append(self.build(item, (*path, i)))
        return items

    def _complain(self, node: Node, path: SettingPath, message: str) -> None:
        mark = _mark(node)
        problem = Problem(self.document.source, path, mark.line, mark.column, message)
        if all((known.line, known.column) != (mark.line, mark.column) for known in self.document.problems):
            self.document.problems.append(problem)  # an alias repeats the fault


def _kind(node: Node) -> str:
    return str(node.tag).removeprefix("tag:yaml.org,2002:")


def _short(node: Node) -> str:
    return str(node.tag).replace("tag:yaml.org,2002:", "!!")


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    text = str(node.value)
    plain = text.replace("_", "")
    try:
        match _kind(node):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(plain, 0) if re.match(r"[-+]?0[xob]", plain) else int(plain)
            case "float":
                return float(re.sub(r"\.(?=inf|nan)", "", plain, flags=re.IGNORECASE))
    except ValueError:
        pass  # `!!int x`, or thousands of digits: stays text, which the type check reports
    return text


def _mark(node: Node) -> FilePosition:
    return FilePosition(node.start_mark.line + 1, node.start_mark.column + 1)


def _shape(node: Node) -> str:
    return "a list" if isinstance(node, SequenceNode) else f"just {str(node.value)[:40]!r}"
