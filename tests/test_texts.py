"""Any text that is taken as a description or a name arrives unchanged in every file, whatever characters it holds."""

from __future__ import annotations

import ast
import json
import tomllib
import unicodedata
from functools import lru_cache

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from repositories import TEMPLATE

from labrig.errors import AnswerError

TURNS_WRITING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

# Every character of Unicode, with those that mean something to TOML, YAML, Python, Jinja or a shell more often.
texts = st.text(
    st.one_of(st.characters(), st.sampled_from("\"'\\#:{}%$`\n\t\x7f\x85\u2028\ufeff👩\u200d🏳️~ -[]&*!|>@,="))
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(description=texts, author=texts)
@example(description='👩‍👩‍👧 \\n \\u0041 "quoted"', author="O'Neil \\")
@example(description="{{ 1 }} {% raw %} ${{ x }} $(id) `id`", author="# not: a comment")
@example(description=" yes ", author="~")
@example(description="x" * 300, author="null")
def test_a_text_is_refused_or_arrives_unchanged(description: str, author: str) -> None:
    try:
        answers = TEMPLATE.resolve({"description": description, "author_name": author}, folder_name="demo")
    except AnswerError as error:
        text = {"description": description, "author_name": author}[error.question]
        assert len(text) > 300 or any(is_unprintable(character) for character in text)
        return
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in description + author)
    assert not set(TURNS_WRITING) & set(description + author)
    files = {path: file.content.decode() for path, file in TEMPLATE.render(answers, commit="v1").items()}
    for path, content in files.items():
        parse(path, content)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project.get("description", "") == description
    assert project.get("authors", [{}])[0].get("name", "") == author
    recorded = yaml.safe_load(files[".copier-answers.yml"])
    assert (recorded["description"], recorded["author_name"]) == (description, author)


@lru_cache(maxsize=200)  # most files are the same whatever the texts are
def parse(path: str, content: str) -> None:
    """Raise an error if a file is not what its name says."""
    match path.rpartition(".")[2]:
        case "toml":
            tomllib.loads(content)
        case "yml" | "yaml" | "cff":
            yaml.safe_load(content)
        case "json":
            json.loads(content)
        case "py":
            ast.parse(content)


def is_unprintable(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
