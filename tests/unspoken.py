"""Words in the sources that no catalog can translate, since they do not go through gettext."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jinja2
from jinja2 import nodes
from jinja2.ext import InternationalizationExtension

GETTEXT = {"_", "gettext", "ngettext", "pgettext", "npgettext"}
# Attributes that people read or hear.
_READ = {"alt", "title", "placeholder", "label", "summary", "aria-label", "aria-description"}
# What people type into a terminal, and what programs read.
_NOT_PROSE = {"style", "script", "pre", "code"}
# Blocks of templates that hold the name of a style.
_STYLED = {"width", "tone"}
_ATTRIBUTE = re.compile(r'[\w-]+="[^"]*"')
# Names of the fields of a mail are the same everywhere.
_FIELDS = {"From", "To", "Date", "Subject"}
# What stands where a template has an expression: no letter.
_VALUE = "\N{WHITE SQUARE}"
_SENTENCE = re.compile(r"[A-Z][a-z]+|.*[A-Za-z]{2,} [a-z]{2,}.*", re.DOTALL)
_LETTER = re.compile(r"[^\W\d_]")

_JINJA = jinja2.Environment(
    extensions=[InternationalizationExtension], trim_blocks=True, lstrip_blocks=True
)


def in_template(path: Path) -> list[str]:
    """What a template says by itself: between its tags, in attributes that are read, in its
    expressions."""
    source = path.read_text(encoding="utf-8")
    text = _without_expressions(source)
    if path.suffix == ".html":
        found = _Reader(text).found
    else:
        found = [line.strip() for line in text.splitlines() if _LETTER.search(line)]
    return [*found, *_in_expressions(_JINJA.parse(source))]


def in_module(path: Path) -> list[str]:
    """Sentences in a module that are neither docstrings nor errors nor for the log, and calls of
    gettext whose words cannot be found by reading the source."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [*_sentences(tree), *_hidden(tree)]


def _without_expressions(source: str) -> str:
    """The template's own text, without what is translated within it, and names of styles."""
    made: list[str] = []
    block: list[str] | None = None
    # The block whose text does not count, and how it ends.
    end = ""
    for _line, kind, value in _JINJA.lex(source):
        if kind == "data" and not end:
            made.append(value)
        elif kind == "variable_begin":
            made.append(_VALUE)
        elif kind == "block_begin":
            block = []
        elif kind == "block_end":
            words = block or [""]
            if words[0] == end:
                end = ""
            elif words[0] == "trans" or (words[0] == "block" and words[1] in _STYLED):
                end = f"end{words[0]}"
            block = None
        elif kind == "name" and block is not None:
            block.append(value)
    return "".join(made)


class _Reader(HTMLParser):
    """Collects the words of an HTML text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _NOT_PROSE:
            self._within.append(tag)
        said = dict(attrs)
        names = _READ | ({"content"} if said.get("name") == "description" else set())
        self.found += [
            value for name, value in attrs if name in names and value and _LETTER.search(value)
        ]

    def handle_endtag(self, tag: str) -> None:
        if self._within and tag == self._within[-1]:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within and _LETTER.search(_ATTRIBUTE.sub("", data)):
            self.found.append(data.strip())


def _in_expressions(node: nodes.Node) -> Iterator[str]:
    """Constants of a template's expressions that read like words for people."""
    for child in node.iter_child_nodes():
        is_call = isinstance(child, nodes.Call) and isinstance(child.node, nodes.Name)
        if is_call and child.node.name in GETTEXT:
            continue
        if isinstance(child, nodes.Compare):
            continue
        if isinstance(child, nodes.Const) and isinstance(child.value, str):
            if _SENTENCE.fullmatch(child.value) and child.value not in _FIELDS:
                yield child.value
            continue
        yield from _in_expressions(child)


def _sentences(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise | ast.Assert | ast.AnnAssign) or _is_docstring(child):
            continue
        if isinstance(child, ast.Call) and (_name(child) in GETTEXT or _is_log(child)):
            continue
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            if re.match(r"[A-Z][a-z]+ [a-z]", child.value):
                yield child.value
            continue
        yield from _sentences(child)


def _hidden(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) in GETTEXT and node.args:
            words = node.args[: 2 if _name(node).startswith("n") else 1]
            if not all(isinstance(word, ast.Constant) for word in words):
                yield ast.unparse(node)


def _name(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_log(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
    )


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
