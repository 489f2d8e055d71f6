"""Checks the syntax of the code that the documentation shows in the languages of apps. Only whole programs can be run, as
tests/clients does with those of Python, Node.js and PHP; most blocks are excerpts, which a parser reads like any other text."""

import re
from pathlib import Path

import tree_sitter_c_sharp
import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_php
import tree_sitter_python
import tree_sitter_ruby
from tree_sitter import Language, Parser

ROOT = Path(__file__).parents[2]
PARSERS = {
    name: Parser(Language(language()))
    for name, language in {
        "csharp": tree_sitter_c_sharp.language,
        "go": tree_sitter_go.language,
        "java": tree_sitter_java.language,
        "js": tree_sitter_javascript.language,
        "php": tree_sitter_php.language_php_only,
        "python": tree_sitter_python.language,
        "ruby": tree_sitter_ruby.language,
    }.items()
}


def is_valid(language, code):
    """Whether the parser understands all of it."""
    return not PARSERS[language].parse(code.encode()).root_node.has_error


def blocks():
    """The blocks of code of each page that users read: the page, the language, the code."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "config").rglob("*.md"))]
    for page in pages:
        for language, code in re.findall(r"^ *```(\w+)\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE):
            if language in PARSERS:
                yield page.relative_to(ROOT), language, code


found = list(blocks())
for page, language, code in found:
    assert is_valid(language, code), f"{page}: no {language}:\n{code}"
    assert not is_valid(language, f"{code}\n("), f"a bracket that is not closed is {language}"
missing = PARSERS.keys() - {language for _, language, _ in found}
assert not missing, f"no block is in {missing}"
