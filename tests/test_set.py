"""Other answers for a repository: an untouched one becomes a fresh one with those answers, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import pytest
from proof import Proof
from repositories import TEMPLATE, alternatives
from workshop import write_tree

from labrig.errors import AnswerError
from labrig.guard import find_losses
from labrig.merge import EXECUTABLE, FILE, Store, merge, open_store
from labrig.migration import migrate
from labrig.render import RenderedFile

STARTS = 3  # random combinations beside the suggested one

Files = Mapping[str, RenderedFile]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("objects")) as opened:
        yield opened


def render(answers: Mapping[str, object]) -> Files:
    resolved = TEMPLATE.resolve(answers, folder_name="demo")
    return TEMPLATE.render(resolved, src_path="https://example.org/template.git", commit="v1", commit_hash="0" * 40)


def starts() -> list[dict[str, object]]:
    """The suggested answers and some random ones."""
    space = Proof(TEMPLATE).space
    chosen = [space.complete(), *(space.complete(chance=random.Random(seed)) for seed in range(STARTS))]
    return [space.answers(point) for point in chosen if point is not None]


def others(answers: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Every answer that could be given instead, to every question."""
    texts = {
        "project_name": "other",
        "package": "other",
        "description": "Does it?",
        "author_name": "Ada O'Hara",
        "author_email": "ada@example.org",
        "repository": "https://github.com/ada/other",
        "exclude": "README.md tests",
    }
    for name, question in TEMPLATE.questions.items():
        values = [False, True] if question.type == "bool" else alternatives(question)
        for value in values or [texts[name], TEMPLATE.resolve({}, folder_name="demo")[name]]:
            if value != answers.get(name):
                yield name, value


def written(store: Store, files: Files) -> str:
    """The tree object of these files."""
    return write_tree(
        store, {path: (EXECUTABLE if file.executable else FILE, file.content) for path, file in files.items()}
    )


@pytest.mark.parametrize(
    "number", [0, 1, *(pytest.param(more, marks=pytest.mark.complete) for more in range(2, STARTS + 1))]
)
def test_any_answer_of_an_untouched_repository_can_be_switched(store: Store, number: int) -> None:
    answers = starts()[number]
    old = render(answers)
    untouched = written(store, old)
    switched: dict[str, int] = {}
    for name, value in others(answers):
        try:
            found = migrate(TEMPLATE, answers, {name: value}, folder_name="demo")
        except AnswerError:
            continue  # it does not go with the earlier answers
        if found.open:
            continue  # another answer has to be given, too: what is asked is tested elsewhere
        new = render(found.answers.recorded)
        left = {other: answer for other, answer in answers.items() if other not in found.dropped}
        assert found.answers.recorded == {**left, **found.added, **found.followed, name: value}, name
        done = merge(store, untouched, old, new)
        assert done.result == done.theirs, (name, value)
        assert not done.conflicts
        assert not list(find_losses(done))
        switched[name] = switched.get(name, 0) + 1
    # From any start, some questions cannot be switched alone: a library limits the framework, a build the manager.
    assert len(switched) > len(TEMPLATE.questions) / 2
    if number == 0:  # the suggested Python is no free-threaded one
        assert set(switched) == set(TEMPLATE.questions) - {"free_threaded"}, "every question was switched"


def test_an_edit_of_the_users_outlives_every_switch(store: Store) -> None:
    answers = starts()[0]
    old = render(answers)
    mine = dict(old)
    for path, file in old.items():
        if path.endswith((".py", ".toml", ".md", ".yml", ".gitignore")) and path != ".copier-answers.yml":
            comment = (
                b"\nmine/\n"
                if path.endswith("ignore")
                else b"\n<!-- mine -->\n"
                if path.endswith(".md")
                else b"\n# mine\n"
            )
            mine[path] = RenderedFile(file.content + comment, file.executable)
    mine["src/demo/mine.py"] = RenderedFile(b"mine = 1\n", False)
    head = written(store, mine)
    for name, value in others(answers):
        try:
            found = migrate(TEMPLATE, answers, {name: value}, folder_name="demo")
        except AnswerError:
            continue  # it does not go with the earlier answers
        done = merge(store, head, old, render(found.answers.recorded))
        assert not list(find_losses(done)), (name, value)
        kept = sum(b"mine" in store.read(entry) for entry in done.result.values())
        assert kept >= sum(b"mine" in file.content for file in mine.values()), (name, value)
