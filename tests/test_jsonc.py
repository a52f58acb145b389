"""A text of JSON, with comments or without, is changed where it has to say something else, and nowhere else."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labrig import keys

SETTINGS = """\
{
    // Mine.
    "editor.rulers": [88], /* as the "linter" */
    "files.exclude": {
        "**/.git": true // "https://example.org"
    },
    "python.testing.pytestEnabled": false,
}
"""
WORDS = st.sampled_from(["a", "b", "c", "torch>=2", "// no comment", "caf\xe9", 'say "hi"', "a,}", ""])
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4, unique_by=keys.canonical), st.dictionaries(WORDS, inner, max_size=4)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(WORDS, VALUES, max_size=5)


def change(kind: str, text: str, after: Any) -> str:
    return keys.WRITERS[kind](text, "", keys.parse(kind, text), after)


def with_remarks(text: str, *, trailing: bool) -> str:
    """The text with a comment at every line end, and with a comma where JSON has none."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        following = lines[index + 1].strip()[:1] if index + 1 < len(lines) else ""
        if trailing and following in {"}", "]"} and line.strip()[-1:] not in {"{", "[", ","}:
            line += ","  # noqa: PLW2901
        lines[index] = f'{line} // line {index}, with a "'
    return "\n".join(lines) + "\n"


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(
    before=OBJECTS,
    after=OBJECTS,
    both=OBJECTS,
    indent=st.sampled_from([None, 2, 4, "\t"]),
    remarks=st.sampled_from(["none", "some", "trailing"]),
)
def test_any_text_says_any_value_afterwards(
    before: dict[str, Any], after: dict[str, Any], both: dict[str, Any], indent: int | str | None, remarks: str
) -> None:
    old, new = {**before, **both}, {**both, **after}
    text = json.dumps(old, indent=indent, ensure_ascii=False)
    if remarks != "none" and indent is not None:
        text = with_remarks(text, trailing=remarks == "trailing")
    changed = change("jsonc", text, new)
    assert keys.same(keys.parse("jsonc", changed), new)
    assert (changed == text) == keys.same(old, new)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(before=st.dictionaries(WORDS, VALUES, min_size=1, max_size=5), new=OBJECTS, remarks=st.booleans())
def test_new_keys_change_no_line(before: dict[str, Any], new: dict[str, Any], remarks: bool) -> None:
    text = json.dumps(before, indent=2, ensure_ascii=False)
    text = with_remarks(text, trailing=False).replace("{ // line 0", "{\n// line 0", 1) if remarks else text
    changed = change("jsonc", text, {**new, **before})
    assert not Counter(text.split("\n")) - Counter(changed.split("\n"))


def test_settings_keep_their_comments_and_their_form() -> None:
    after = {
        "editor.rulers": [88, 100],
        "files.exclude": {"**/.git": True, "**/runs": True},
        "python.testing.pytestEnabled": False,
        "[python]": {"editor.formatOnSave": True},
    }
    changed = change("jsonc", SETTINGS, after)
    assert changed == SETTINGS.replace("[88]", "[88, 100]").replace(
        '        "**/.git"', '        "**/runs": true,\n        "**/.git"'
    ).replace("{\n    // Mine", '{\n    "[python]": {\n        "editor.formatOnSave": true\n    },\n    // Mine')


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ('{"a":1,"b":2}', {"b": 2}, '{"b":2}'),
        ('{"a": 1, "b": 2}', {"a": 1}, '{"a": 1}'),
        ('{ "a": 1 }', {"b": [1], "a": 2}, '{ "b": [1], "a": 2 }'),
        ('{"a":1}', {"b": [1, 2], "a": 1}, '{"b":[1,2],"a":1}'),
        ('{"a": {}}', {"a": {"x": 1}}, '{"a": {"x": 1}}'),
        ("{}\n", {"x": 1}, '{"x": 1}\n'),
        ('["x", "y"]', ["new", "x", "y"], '["new", "x", "y"]'),
        ('{"a": "\\u00e9"}', {"b": "\xe9", "a": "\xe9"}, '{"b": "\\u00e9", "a": "\\u00e9"}'),
        ('[\n  "x",\n  "y"\n]', ["x", "z"], '[\n  "x",\n  "z"\n]'),
    ],
)
def test_small_changes_are_small(text: str, after: object, expected: str) -> None:
    assert change("json", text, after) == expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".vscode/settings.json", "jsonc"),
        ("deep/.vscode/extensions.json", "jsonc"),
        (".devcontainer/devcontainer.json", "jsonc"),
        ("a.jsonc", "jsonc"),
        ("package.json", "json"),
        (".vscode/readme.md", None),
    ],
)
def test_comments_are_allowed_where_editors_allow_them(path: str, kind: str | None) -> None:
    assert keys.format_of(path) == kind


def test_comments_elsewhere_are_no_json() -> None:
    with pytest.raises(keys.UnreadableError):
        keys.parse("json", "{} // x")
    assert keys.parse("jsonc", "{} // x") == {}
