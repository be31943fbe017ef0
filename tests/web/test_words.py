"""The catalogues of words: what they hold is shown somewhere, and the help names the keys that there are."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Final

import pytest

from mainspring.web.navigation import MENU
from mainspring.web.templating import FOLDER
from mainspring.web.words import WORDS

CATALOGUES: Final = sorted(file.stem for file in FOLDER.parent.glob("words_*.py"))
TEMPLATES: Final = "".join(file.read_text(encoding="utf-8") for file in FOLDER.rglob("*.html"))
SOURCES: Final = TEMPLATES + "".join(file.read_text(encoding="utf-8") for file in FOLDER.parent.glob("*.py"))
NAMED: Final = frozenset(re.findall(r"\.([a-z]\w*)", SOURCES)) | frozenset(re.findall(r"\"([a-z]\w*)\"", SOURCES))
"""After a dot, or as a text that a name is looked up by."""
BEGINNINGS: Final = tuple(re.findall(r"text\[\"(\w+_)\" ~", TEMPLATES))


def words_of_catalogue(name: str) -> set[str]:
    """Return what the words of one module are called."""
    classes = [each for each in vars(import_module(f"mainspring.web.{name}")).values() if isinstance(each, type)]
    return {word for each in classes if each.__name__.endswith(("Words", "Tabs")) for word in vars(each)}


@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_each_word_of_a_catalogue_is_used(catalogue: str) -> None:
    words = {word for word in words_of_catalogue(catalogue) if not word.startswith("_")}
    assert words, "the catalogue was not read"
    assert {word for word in words - NAMED if not word.startswith(BEGINNINGS)} == set()


def test_the_help_names_each_key() -> None:
    pages = {f"g {entry.key}": entry.name for entry in MENU}
    assert {key: what for key, what in WORDS["keys"].items() if key.startswith("g ")} == pages
    shortcuts = set(re.findall(r"data-shortcut=\"(.)\"", TEMPLATES))
    assert {"[", "]", "l", "f", "p", "c"} <= shortcuts
    assert shortcuts <= set(WORDS["keys"])
