"""A text that was merged key by key reads as if a person had merged it."""

from __future__ import annotations

import pytest

from labrig import keys

TOOLS = """\
[tool.black]
line-length = 88

[tool.{checker}]
strict = true

[tool.pytest.ini_options]
addopts = "-q"  # mine

# The package.
[build-system]
requires = []
"""


def merged(kind: str, base: str, ours: str, theirs: str) -> str:
    text, values = keys.merge_text(kind, base, ours, theirs)
    assert not values.conflicts
    assert text is not None
    return text


def test_a_table_that_goes_leaves_a_blank_line_and_one_that_comes_has_one() -> None:
    before = "[tool.mypy]\nstrict = true\n"
    after = "[tool.pyright]\nstrict = true\n"
    text = merged("toml", before, TOOLS.format(checker="mypy"), after)
    assert sorted(text.split("\n\n")) == sorted(
        [
            "[tool.black]\nline-length = 88",
            "[tool.pyright]\nstrict = true",
            '[tool.pytest.ini_options]\naddopts = "-q"  # mine',
            "# The package.\n[build-system]\nrequires = []\n",
        ]
    )


def test_tables_that_the_user_wrote_without_a_blank_line_stay_so() -> None:
    ours = "[a]\nx = 1\n[b]\ny = 2\n"
    assert merged("toml", "[a]\nx = 1\n", ours, "[a]\nx = 3\n") == "[a]\nx = 3\n[b]\ny = 2\n"


def test_two_blank_lines_of_the_users_stay_two() -> None:
    ours = "[a]\nx = 1\n\n\n# mine\n[b]\ny = 2\n"
    assert merged("toml", "[a]\nx = 1\n", ours, "[a]\nx = 3\n") == ours.replace("x = 1", "x = 3")


def test_the_last_table_goes_with_the_blank_line_before_it() -> None:
    base = "[a]\nx = 1\n\n[b]\ny = 2\n"
    assert keys.without("toml", base, ["b"]) == "[a]\nx = 1\n"


def test_an_item_of_a_yaml_list_comes_in_the_form_of_the_template() -> None:
    theirs = "repos:\n  - repo: local\n    hooks:\n      - id: lint\n        types_or: [python, pyi]\n"
    ours = "repos:\n  - repo: https://example.org/mine\n    hooks: []\n"
    text = merged("yaml", "", ours, ours + theirs.removeprefix("repos:\n"))
    assert text == ours + theirs.removeprefix("repos:\n")


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        (
            '{\n  "a": 1, // one\n  "b": 2\n}\n',
            '{\n  // mine\n  "a": 1, // one\n  "b": 3\n}\n',
            '{\n  "a": 9, // one\n  "b": 2\n}\n',
            '{\n  // mine\n  "a": 9, // one\n  "b": 3\n}\n',
        ),
        (
            '{\n  "a": 1,\n  "b": 2\n}\n',
            '{\n  "a": 1,\n  /* mine */\n  "c": [1, 2],\n}\n',
            '{\n  "a": 1,\n  "b": 2,\n  "d": 4\n}\n',
            '{\n  "d": 4,\n  "a": 1,\n  /* mine */\n  "c": [1, 2],\n}\n',
        ),
    ],
)
def test_json_with_comments_is_merged_by_keys(base: str, ours: str, theirs: str, expected: str) -> None:
    assert merged("jsonc", base, ours, theirs) == expected


def test_a_comment_of_the_users_on_what_the_template_removes_is_not_lost() -> None:
    base, ours = '{\n  "a": 1,\n  "b": 2\n}\n', '{\n  "a": 1, // why\n  "b": 2\n}\n'
    text, _ = keys.merge_text("jsonc", base, ours, '{\n  "b": 2\n}\n')
    assert text is None, "a person has to decide"
