"""Python's own documentation as text: the language reference and the standard library's docstrings."""

import ast
import importlib
import inspect
import sys
import warnings
from collections.abc import Iterator
from functools import cache

from minimapnet.errors import InputError
from minimapnet.text import python_library
from minimapnet.text.cleaning import prose


@cache
def documents() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the documents, (name, sentences) each, in the order of their names: a topic of the reference, or a module.

    Only what reads as prose is kept (see `cleaning.prose`), and a sentence that several documents have stays in the first:
    docstrings repeat their boilerplate. All of it is about 1.5 MB, so it is read once and kept.

    Raises InputError where this Python came without them.
    """
    texts = {**_topics(), **_module_docstrings(), **_compiled_docstrings()}
    seen, documents = set(), []
    for name, parts in sorted(texts.items()):
        new = dict.fromkeys(sentence for text in parts for sentence in prose(text) if sentence not in seen)
        seen.update(new)
        if new:
            documents.append((name, tuple(new)))
    if not documents:
        raise InputError("this Python came without its documentation; give a text of your own with --text")
    return tuple(documents)


def _topics() -> dict[str, list[str]]:
    """Return the language reference, by topic, as `help()` knows it."""
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return {}
    return {f"topic {name}": [text] for name, text in topics.items()}


def _module_docstrings() -> dict[str, list[str]]:
    """Return the docstrings of the standard library's modules, from their source: importing some of them has effects."""
    docstrings = {}
    for place, file in python_library.modules():
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, OSError):  # templates and samples of other versions' syntax
            continue
        docstrings[f"module {place}"] = list(_docstrings(tree))
    return docstrings


def _docstrings(node: ast.AST) -> Iterator[str]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and (text := ast.get_docstring(node)):
        yield text
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield from _docstrings(child)


def _compiled_docstrings() -> dict[str, list[str]]:
    """Return the docstrings of the modules that are part of the interpreter, `str` and its methods among them."""
    docstrings = {}
    for name in sys.builtin_module_names:
        module = importlib.import_module(name)
        owners = [module, *(thing for thing in vars(module).values() if isinstance(thing, type))]
        texts = (getattr(thing, "__doc__", None) for owner in owners for thing in [owner, *vars(owner).values()])
        docstrings[f"module {name}"] = [inspect.cleandoc(text) for text in texts if isinstance(text, str)]
    return docstrings
