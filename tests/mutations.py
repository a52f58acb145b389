"""Defects to plant in the template, one of each kind, and the check that has to find each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repositories import choices

CI = ".github/workflows/ci.yml"
GITHUB = "template/{{ github }}/" + CI + ".jinja"
README = "template/README.md.jinja"
MANIFEST = "pyproject.toml"
QUESTIONS = "questions/repository.yml"
KUBERNETES = "template/{{ kubernetes }}/launch/kubernetes"
MODAL = "template/{{ modal }}/launch/modal/app.py.jinja"
SKYPILOT = "template/{{ skypilot }}/launch/skypilot/train.yaml.jinja"
JAX = "template/{{ jax }}/src/{{ package }}"
PYTORCH = "template/{{ pytorch }}/src/{{ package }}"
TENSORFLOW = "template/{{ tensorflow }}/src/{{ package }}"
PYTORCH_ONNX = "template/{{ onnx }}/{{ pytorch }}/src/{{ package }}"
TENSORFLOW_ONNX = "template/{{ onnx }}/{{ tensorflow }}/src/{{ package }}"
SERVICE = "template/{{ fastapi }}/src/{{ package }}"
ODD_TEST = "\n\ndef test_odd() -> None:\n    assert jnp.ones(2).sum() == 3\n"


@dataclass(frozen=True)
class Edit:
    """A text of one file replaced, which stands there once; without an old text the new one is added at the end."""

    file: str
    new: str
    old: str = ""

    def plant(self, root: Path) -> None:
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert not self.old or text.count(self.old) == 1, f"{self.file} has {self.old!r} {text.count(self.old)} times"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(self.old, self.new) if self.old else text + self.new, encoding="utf-8")


@dataclass(frozen=True)
class Mutant:
    """A defect: what it is, how it gets into the template, and what finds it."""

    defect: str
    edits: tuple[Edit, ...]
    found_by: str  # "template", a tool, a join, or a task of the generated repository
    says: str  # a regular expression that one of its messages matches
    shows_with: Mapping[str, object] = field(default_factory=dict)  # the answers that it takes; none: it always shows
    looks_at: tuple[str, ...] = ()  # the files that a tool is given, by the beginning of their paths

    def blames(self, answers: Mapping[str, object]) -> bool:
        """Whether the defect shows with these answers. A set holds the answers of which any will do."""
        return all(
            as_one(answers[name]) in wanted if isinstance(wanted, frozenset) else answers[name] == wanted
            for name, wanted in self.shows_with.items()
        )


def as_one(answer: object) -> object:
    """An answer that can be in a set."""
    return tuple(answer) if isinstance(answer, list) else answer


def any_of(*values: object) -> frozenset[object]:
    return frozenset(values)


def has(value: str) -> frozenset[object]:
    """Every answer to the question of the launchers in which this one is."""
    return any_of(*(tuple(some) for some in choices("launchers") if value in some))


def refused(value: str, condition: str) -> str:
    """A choice that cannot be made under a condition."""
    return f"{{value: {value}, validator: \"{{{{ 'no' if {condition} else '' }}}}\"}}"


def all_refused(condition: str) -> Iterable[Edit]:
    """No choice of the question `ci` can be made under a condition."""
    for label, value in (("GitHub Actions", "github"), ("GitLab CI", "gitlab"), ("None", "none")):
        end = "\n  default: github" if value == "none" else ""  # two questions have this choice
        yield Edit(QUESTIONS, f"    {label}: {refused(value, condition)}{end}", f"    {label}: {value}{end}")


# What cannot be rendered, or cannot be proven

TEMPLATE = [
    Mutant(
        "a part whose name is computed",
        (Edit("template/{{ poetry }}/readme-setup.part", "{% include package ~ '.part' %}\n"),),
        "template",
        r"readme-setup\.part:\d+ includes a file whose name is computed",
        {"package_manager": "poetry"},
    ),
    Mutant(
        "a name that nothing defines",
        (Edit("template/{{ uv }}/{{ gpu }}/readme-gpu.part", "{{ acelerator }}\n"),),
        "template",
        r"readme-gpu\.part:\d+ reads acelerator, which is no question",
        {"package_manager": "uv", "accelerator": any_of("cu126", "cu128", "cu129", "cu130", "cu132", "rocm", "tpu")},
    ),
    Mutant(
        "a part that does not exist",
        (Edit(GITHUB, "{% if hooks %}\n{% include 'template/hooks.part' %}\n{% endif %}\n"),),
        "template",
        r"ci\.yml\.jinja:\d+ names the file template/hooks\.part, which does not exist",
        {"ci": "github", "hooks": True},
    ),
    Mutant(
        "a text that depends on chance",
        (Edit("template/{{ conda }}/readme-lock.part", "{{ [1, 2] | random }}\n"),),
        "template",
        r"readme-lock\.part:\d+ uses the filter random",
        {"package_manager": "conda"},
    ),
    Mutant(
        "an error that only some answers reach",
        (Edit("template/{{ pip }}/tasks.part", "# {{ {'cpu': 1, 'cu130': 2}[accelerator] }}\n"),),
        "template",
        r"tasks\.part:\d+ could not be rendered",
        {"package_manager": "pip", "accelerator": any_of("cu126", "cu128", "cu129", "cu132", "rocm", "tpu")},
    ),
    Mutant(
        "a path that leaves the repository",
        (Edit("template/{{ '..' if hooks else '.' }}/odd.txt", "odd\n"),),
        "template",
        r"odd\.txt",
        {"hooks": True},
    ),
    Mutant(
        "a question that is left without any answer",
        tuple(all_refused("framework == 'jax' and package_manager == 'poetry'")),
        "template",
        r"questions/repository\.yml:\d+: the question ci has no answer left",
        {"framework": "jax", "package_manager": "poetry"},
    ),
    Mutant(
        "a default that its own question refuses",
        (
            Edit(
                QUESTIONS,
                "editor): " + refused("pyright", "framework == 'jax' and python == '3.13'"),
                "editor): pyright",
            ),
        ),
        "template",
        r"questions/repository\.yml:\d+: the question type_checker refuses its own default",
        {"framework": "jax", "python": "3.13"},
    ),
    Mutant(
        "a validator that fails",
        (Edit(QUESTIONS, "Cursor: " + refused("cursor", "ci == 'gitlab' and ci < 3"), "Cursor: cursor"),),
        "template",
        r"questions/repository\.yml:\d+: a choice of the question editor.* could not be rendered",
        {"ci": "gitlab"},
    ),
    Mutant(
        "a hidden value that fails, though nothing reads it",
        (
            Edit(
                "questions/layers.yml", "odd: {type: str, when: false, default: \"{{ {'uv': 1}[package_manager] }}\"}\n"
            ),
        ),
        "template",
        r"questions/layers\.yml:\d+: the default of the question odd.* could not be rendered",
        {"package_manager": any_of("pip", "conda", "poetry")},
    ),
    Mutant(
        "a question that reads a later one",
        (Edit(QUESTIONS, "default: \"{{ 'github' if agents else 'none' }}\"", "default: github"),),
        "template",
        r"the question ci, default:\d+ reads agents, which is asked later",
    ),
]

# What the tool of a format refuses

TOOLS = [
    Mutant(
        "a table that two parts define",
        (Edit("template/{{ conda }}/pyproject.toml.part", "\n[tool.mypy]\nstrict = false\n"),),
        "formats",
        r"TOMLDecodeError",
        {"package_manager": "conda", "type_checker": "mypy"},
        (MANIFEST,),
    ),
    Mutant(
        "a part that runs into the next one",
        (Edit("template/{{ apache }}/pyproject.toml.part", '"Apache-2.0"', '"Apache-2.0"\n'),),
        "formats",
        r"TOMLDecodeError",
        {"license": "apache-2.0"},
        (MANIFEST,),
    ),
    Mutant(
        "a part that is no YAML",
        (Edit("template/{{ poetry }}/gitlab-setup.part", "  before_script: [\n", "  before_script:\n"),),
        "formats",
        r"ParserError",
        {"ci": "gitlab", "package_manager": "poetry"},
        (".gitlab-ci.yml",),
    ),
    Mutant(
        "a rule of Cursor that never applies",
        (
            Edit(
                "template/{{ cursor }}/{{ agents_md }}/.cursor/rules/agents.mdc",
                'alwaysApply: "true"',
                "alwaysApply: true",
            ),
        ),
        "formats",
        r"JsonSchemaValueException: data\.alwaysApply must be boolean",
        {"editor": "cursor", "agents": True},
        (".cursor/",),
    ),
    Mutant(
        "a setting of the debugger that there is none of",
        (Edit("template/{{ workspace }}/.vscode/launch.json.jinja", '"programme": "pytest"', '"module": "pytest"'),),
        "formats",
        r"JsonSchemaValueException: data\.configurations\[3\]",
        {"editor": any_of("vscode", "cursor")},
        (".vscode/",),
    ),
    Mutant(
        "a workflow that its schema does not allow",
        (Edit("template/{{ uv }}/github-job.part", "    timeout: 20\n"),),
        "formats",
        r"JsonSchemaValueException: data\.jobs\.check",
        {"ci": "github", "package_manager": "uv"},
        (CI,),
    ),
    Mutant(
        "a citation with an unknown licence",
        (Edit("questions/layers.yml", "'bsd-3-clause': 'BSD-3'", "'bsd-3-clause': 'BSD-3-Clause'"),),
        "formats",
        r"JsonSchemaValueException: .*license",
        {"license": "bsd-3-clause"},
        ("CITATION.cff",),
    ),
    Mutant(
        "an expression of the workflow that does not exist",
        (Edit("template/{{ pip }}/github-setup.part", '      - run: echo ${{ "{{" }} github.actr }}\n'),),
        "actionlint",
        r"actr",
        {"ci": "github", "package_manager": "pip"},
        (CI,),
    ),
    Mutant(
        "a title of a pull request that the workflow would run",
        (
            Edit(
                "template/{{ conda }}/github-setup.part",
                '      - run: echo "${{ "{{" }} github.event.pull_request.title }}"\n',
            ),
        ),
        "zizmor",
        r"template-injection",
        {"ci": "github", "package_manager": "conda"},
        (CI,),
    ),
    Mutant(
        "a setting that Renovate does not know",
        (
            Edit(
                "template/{{ gitlab }}/.gitlab/renovate.json.jinja",
                '"enable": false',
                '"enabled": false',
            ),
        ),
        "renovate",
        r"enable",
        {"ci": "gitlab"},
        (".gitlab/renovate.json",),
    ),
    Mutant(
        "shell in the workflow that does not parse",
        (Edit("template/{{ poetry }}/github-setup.part", "      - run: if poetry check; then echo fine\n"),),
        "bash",
        r"syntax error",
        {"ci": "github", "package_manager": "poetry"},
        (CI,),
    ),
    Mutant(
        "shell in the README that means something else",
        (Edit("template/{{ conda }}/readme-lock.part", "```sh\nls $(conda info --base)\n```\n"),),
        "shellcheck",
        r"SC2046",
        {"package_manager": "conda"},
        ("README.md",),
    ),
    Mutant(
        "a key of a Job that is misspelt",
        (Edit(f"{KUBERNETES}/job.yaml.jinja", "  backofLimit: 0", "  backoffLimit: 0"),),
        "kubernetes",
        r"launch/kubernetes/job\.yaml.*'backofLimit' was unexpected",
        {"launchers": has("kubernetes")},
        ("launch/",),
    ),
    Mutant(
        "a key of a JobSet that is misspelt",
        (Edit(f"{KUBERNETES}/jobset.yaml.jinja", "onJobFailureReason:", "onJobFailureReasons:"),),
        "kubernetes",
        r"launch/kubernetes/jobset\.yaml.*there is no JobSet\..*\.onJobFailureReason",
        {"launchers": has("kubernetes")},
        ("launch/",),
    ),
    Mutant(
        "an option of a function of Modal that is misspelt",
        (Edit(MODAL, "single_use_container=True", "single_use_containers=True"),),
        "modal",
        r"launch/modal/app\.py.*unexpected keyword argument 'single_use_container'",
        {"launchers": has("modal")},
        ("launch/",),
    ),
    Mutant(
        "a key of a task of SkyPilot that is misspelt",
        (Edit(SKYPILOT, "num_node: 1", "num_nodes: 1"),),
        "skypilot",
        r"launch/skypilot/train\.yaml.*did you mean 'num_nodes'",
        {"launchers": has("skypilot")},
        ("launch/",),
    ),
    Mutant(
        "a key that SkyPilot keeps for plug-ins",
        (Edit(SKYPILOT, "recover_on_exit_code:", "recover_on_exit_codes:"),),
        "skypilot",
        r"launch/skypilot/train\.yaml.*job_recovery has no recover_on_exit_code",
        {"launchers": has("skypilot")},
        ("launch/",),
    ),
    Mutant(
        "a key of a dev container that is misspelt",
        (Edit("template/{{ devcontainer }}/{{ nvidia }}/requirements.part", "hostRequirement", "hostRequirements"),),
        "formats",
        r"JsonSchemaValueException: data must not contain \{'hostRequirement'\}",
        {"accelerator": any_of("cu126", "cu128", "cu129", "cu130", "cu132")},
        (".devcontainer/",),
    ),
    Mutant(
        "an instruction of a Dockerfile that is none",
        (
            Edit(
                "template/{{ docker }}/{{ pip }}/packages.part",
                "COPIES requirements/{{ acc",
                "COPY requirements/{{ acc",
            ),
        ),
        "hadolint",
        r"Dockerfile.*unexpected",
        {"package_manager": "pip"},
        ("Dockerfile",),
    ),
    Mutant(
        "a pattern for Docker that comes too early",
        (
            Edit("template/{{ docker }}/.dockerignore.jinja", "no secrets.\n", "no secrets.\n*\n"),
            Edit("template/{{ docker }}/.dockerignore.jinja", "*\n"),
        ),
        "dockerignore",
        r"src does not get through",
        {},
        (".dockerignore",),
    ),
    Mutant(
        "an image of Apptainer with a tag and a digest",
        (
            Edit(
                "template/{{ apptainer }}/apptainer.def.jinja",
                "From: {{ image }}",
                "From: {{ image.split(':')[0] }}@{{ image.split('@')[1] }}",
            ),
        ),
        "apptainer",
        r"has a tag and a digest",
        {},
        ("apptainer.def",),
    ),
    Mutant(
        "a cell of a notebook without a kind",
        (
            Edit(
                "template/{{ jupyter }}/notebooks/explore.ipynb.jinja",
                '"cell_type": "prose"',
                '"cell_type": "markdown"',
            ),
        ),
        "formats",
        r"NotebookValidationError|ValidationError",
        {"notebooks": "jupyter"},
        ("notebooks/",),
    ),
    Mutant(
        "a name that two cells of a notebook define",
        (Edit("template/{{ marimo }}/notebooks/explore.py.jinja", "    metrics = 1\n    draw(", "    draw("),),
        "marimo",
        r"explore\.py",
        {"notebooks": "marimo"},
        ("notebooks/",),
    ),
    Mutant(
        "a heading that comes twice",
        (Edit("template/{{ prek }}/readme.part", "\n## Tasks\n\nAgain.\n"),),
        "markdownlint",
        r"MD024",
        {"hooks": True},
        ("README.md",),
    ),
    Mutant(
        "YAML with a wrong indentation",
        (Edit("template/{{ prek }}/.pre-commit-config.yaml.jinja", "          require_serial: true", ""),),
        "yamllint",
        r"indentation|syntax",
        {"hooks": True},
        (".pre-commit-config.yaml",),
    ),
    Mutant(
        "a hook without an entry",
        (Edit("template/{{ prek }}/.pre-commit-config.yaml.jinja", "", "        entry: git diff --cached --check\n"),),
        "prek",
        r"Failed to parse",
        {"hooks": True},
        (".pre-commit-config.yaml",),
    ),
    Mutant(
        "a hook in a language that is none",
        (
            Edit(
                "template/{{ prek }}/.pre-commit-config.yaml.jinja",
                "{{ 'system' if uv else 'sytem' }}\n        entry: {{ run }}ruff format",
                "system\n        entry: {{ run }}ruff format",
            ),
        ),
        "pre-commit",
        r"\.pre-commit-config\.yaml",
        {"hooks": True, "package_manager": any_of("pip", "conda", "poetry")},
        (".pre-commit-config.yaml",),
    ),
    Mutant(
        "a setting that Poetry does not know",
        (Edit("template/{{ poetry }}/pyproject.toml.part", "[tool.poetry]\npackage-mod = true\n", "[tool.poetry]\n"),),
        "poetry",
        r"package-mod",
        {"package_manager": "poetry"},
        (MANIFEST,),
    ),
    Mutant(
        "a task that poe does not understand",
        (Edit("template/{{ uv }}/tasks.part", "command =", "cmd ="),),
        "poe",
        r"lock",
        {"package_manager": "uv"},
        (MANIFEST,),
    ),
    Mutant(
        "a setting that uv does not know",
        (Edit("template/{{ uv }}/pyproject.toml.part", "default-group =", "default-groups ="),),
        "uv",
        r"default-group",
        {"package_manager": "uv"},
        (MANIFEST,),
    ),
    Mutant(
        "an option that pip does not know",
        (Edit("shared/groups.jinja", "--extra-index-urls {{ stack", "--extra-index-url {{ stack"),),
        "pip",
        r"extra-index-urls",
        {"package_manager": "pip", "framework": "pytorch"},
        ("requirements/",),
    ),
    Mutant(
        "a requirement that conda does not understand",
        (Edit("stack.yml", 'requires: ["pytorch-cpu>=2.13,<<2.14"]', 'requires: ["pytorch-cpu>=2.13,<2.14"]'),),
        "conda",
        r"pytorch-cpu",
        {"package_manager": "conda", "framework": "pytorch"},
        ("environment",),
    ),
    Mutant(
        "something of the template language that is left over",
        (Edit("template/{{ conda }}/readme-lock.part", "{% raw %}{{ package }}{% endraw %}\n"),),
        "style",
        r"line \d+ has '{{'",
        {"package_manager": "conda"},
        ("README.md",),
    ),
    Mutant(
        "blank space at the end of a line",
        (Edit("template/{{ pip }}/tasks.part", "# the lock \n"),),
        "style",
        r"blank space at its end",
        {"package_manager": "pip"},
        (MANIFEST,),
    ),
    Mutant(
        "two blank lines that meet where one part ends and the next begins",
        (Edit("template/{{ prek }}/readme.part", "\n"),),
        "style",
        r"too many blank lines",
        {"hooks": True},
        ("README.md",),
    ),
    Mutant(
        "Python that does not parse",
        (Edit(f"{JAX}/tracing.py", "def broken(:\n"),),
        "compile",
        r"SyntaxError",
        {"framework": "jax"},
        ("src/",),
    ),
    Mutant(
        "Python that is not formatted",
        (Edit(f"{PYTORCH}/evaluate.py", "x = [1,2]\n"),),
        "ruff format",
        r"evaluate\.py",
        {"framework": "pytorch"},
        ("src/", "tests/", MANIFEST),
    ),
    Mutant(
        "an import that is not used",
        (Edit("template/{{ jax }}/tests/test_train.py.jinja", "\n\ndef unused() -> None:\n    import math\n"),),
        "ruff check",
        r"F401",
        {"framework": "jax"},
        ("src/", "tests/", MANIFEST),
    ),
    Mutant(
        "a pattern that keeps nothing from git",
        (Edit("template/{{ gitlab }}/gitignore.part", "!.cache/\n"),),
        "git",
        r"git does not ignore",
        {"ci": "gitlab"},
        (".gitignore",),
    ),
]

# What the files of one repository say of each other

JOINS = [
    Mutant(
        "two owners of one path",
        (Edit(f"{JAX}/data.py", '"""Other data."""\n'),),
        "one owner of every path",
        r"data\.py",
        {"framework": "jax"},
    ),
    Mutant(
        "two paths that differ in their case alone",
        (Edit("template/{{ gitlab }}/Readme.md", "# Other\n"),),
        "one owner of every path",
        r"Readme\.md",
        {"ci": "gitlab"},
    ),
    Mutant(
        "a pipeline of which nobody can say what it runs",
        (Edit("template/{{ gitlab }}/.gitlab-ci.yml.jinja", "check\n  interruptible", "check:\n  interruptible"),),
        "files can be read",
        r"\.gitlab-ci\.yml",
        {"ci": "gitlab"},
    ),
    Mutant(
        "a link in the README to a file that is not there",
        (Edit("template/{{ prek }}/readme.part", "\nSee [the hooks](docs/hooks.md).\n"),),
        "named paths exist",
        r"docs/hooks\.md",
        {"hooks": True},
    ),
    Mutant(
        "the lock of another manager",
        (Edit("template/{{ poetry }}/readme-lock.part", "\nCommit `uv.lock`, too.\n"),),
        "named paths exist",
        r"names uv\.lock, which is not there",
        {"package_manager": "poetry"},
    ),
    Mutant(
        "a file that git would ignore",
        (Edit("template/{{ gitlab }}/gitignore.part", "configs/\n"),),
        "git keeps every file",
        r"configs/baseline\.py is ignored by \.gitignore",
        {"ci": "gitlab"},
    ),
    Mutant(
        "a file that the README does not list",
        (Edit("template/{{ cursor }}/notes.txt", "Notes.\n"),),
        "the README lists the files",
        r"notes\.txt.* the README does not list it",
        {"editor": "cursor"},
    ),
    Mutant(
        "a link to a heading that is not there",
        (Edit("template/{{ conda }}/readme-lock.part", "\nSee [above](#set-it-up).\n"),),
        "named anchors exist",
        r"set-it-up",
        {"package_manager": "conda"},
    ),
    Mutant(
        "a task in AGENTS.md that not every repository has",
        (
            Edit(
                "template/{{ agents_md }}/AGENTS.md.jinja",
                "- `{{ run }}poe types` checks the types.\n\n## Style",
                "## Style",
            ),
        ),
        "called tasks exist",
        r"AGENTS\.md.* calls the task types",
        {"agents": True, "type_checker": "none"},
    ),
    Mutant(
        "a command in the README that the package does not have",
        (
            Edit(
                "template/{{ pytorch }}/{{ gpu }}/readme-gpu.part",
                "-m {{ package }} trian\n",
                "-m {{ package }} train\n",
            ),
        ),
        "modules run with these arguments",
        r"trian",
        {"framework": "pytorch", "accelerator": any_of("cu126", "cu128", "cu129", "cu130", "cu132", "rocm")},
    ),
    Mutant(
        "an override that is spelled as a flag",
        (Edit("template/{{ hydra }}/readme-change.part", "--seed 1              ", "seed=1              "),),
        "changes are spelled as the configuration reads them",
        r"by a flag",
        {"config": "hydra"},
    ),
    Mutant(
        "a program that nothing installs",
        (Edit("template/{{ pip }}/{{ gpu }}/readme-gpu.part", "\n```sh\nnvitop\n```\n"),),
        "programs are installed",
        r"nvitop",
        {"package_manager": "pip", "accelerator": any_of("cu126", "cu128", "cu129", "cu130", "cu132", "rocm", "tpu")},
    ),
    Mutant(
        "a command for another manager",
        (Edit("template/{{ agents_md }}/AGENTS.md.jinja", "- `uv run pytest -k", "- `{{ run }}pytest -k"),),
        "commands start as the manager wants",
        r"`uv run pytest` is not how this manager runs it",
        {"agents": True, "package_manager": any_of("pip", "conda", "poetry")},
    ),
    Mutant(
        "a check that CI leaves out",
        (Edit(GITHUB, "{% if type_checker == 'pyright' %}", "{% if type_checker != 'none' %}"),),
        "CI checks what `poe check` checks",
        r"ci\.yml does not run the task types",
        {"ci": "github", "type_checker": "mypy"},
    ),
    Mutant(
        "an import that is not declared",
        (Edit(f"{JAX}/tracing.py", "\n\nimport scipy  # noqa: E402\n"),),
        "imports are declared",
        r"imports scipy, which is not declared",
        {"framework": "jax"},
    ),
    Mutant(
        "an import of a sibling that only another framework has",
        (Edit(f"{JAX}/tracing.py", "\n\nfrom . import shards  # noqa: E402\n"), Edit(f"{PYTORCH}/shards.py", "\n")),
        "imports are declared",
        r"shards",
        {"framework": "jax"},
    ),
    Mutant(
        "a package that a project could be called like",
        (
            Edit("stack.yml", 'jax: {einops: ">=0.8,<1", optax:', "jax: {optax:"),
            Edit(f"{JAX}/tracing.py", "\n\nimport einops  # noqa: E402\n"),
        ),
        "imported names are kept free",
        r"shared/names\.yml does not name einops",
    ),
    Mutant(
        "a declared package that nothing uses",
        (Edit("stack.yml", 'jax: {chex: ">=0.1,<1", optax:', "jax: {optax:"),),
        "declared packages are used",
        r"chex, which nothing uses",
        {"framework": "jax"},
    ),
    Mutant(
        "a dependency that one environment file lacks",
        (
            Edit(
                "shared/groups.jinja",
                "{% for layer in [config, library, framework, 'dev']",
                "{% for layer in ['base', config, library, framework, 'dev']",
            ),
        ),
        "environments hold what the package requires",
        r"environment\.yml",
        {"package_manager": "conda"},
    ),
    Mutant(
        "a wrong version of Python in one place",
        (Edit("shared/groups.jinja", "  - python=3.12\n", "  - python={{ python }}\n"),),
        "one Python",
        r"names Python 3\.12, and the package requires another",
        {"package_manager": "conda", "python": any_of("3.11", "3.13", "3.14")},
    ),
    Mutant(
        "a wrong name of an environment",
        (Edit("template/{{ conda }}/readme-lock.part", "\n```sh\nconda activate research\n```\n"),),
        "one name",
        r"no file makes an environment research",
        {"package_manager": "conda"},
    ),
    Mutant(
        "an action that is not pinned",
        (Edit("template/{{ poetry }}/github-setup.part", "      - uses: actions/setup-node@v5\n"),),
        "pins are in the catalogue",
        r"stack\.yml does not have actions/setup-node@v5",
        {"ci": "github", "package_manager": "poetry"},
    ),
    Mutant(
        "an image that is not in the catalogue",
        (
            Edit(
                "template/{{ pip }}/gitlab-setup.part",
                "  image: python:3.12\n",
                "  image: {{ stack.images.python[python] }}\n",
            ),
        ),
        "pins are in the catalogue",
        r"stack\.yml does not have python:3\.12",
        {"ci": "gitlab", "package_manager": "pip"},
    ),
    Mutant(
        "an action in the catalogue without its commit",
        (Edit("stack.yml", "setup-uv@v10 #", "setup-uv@20cfd1bf945f4377ade1205e4dbc17946fc9a30d #"),),
        "pins are in the catalogue",
        r"setup-uv@v10 .*is not pinned by its commit",
    ),
    Mutant(
        "a workflow of the template whose actions Renovate moves, too",
        (
            Edit(
                "template/{{ github }}/.github/renovate.json.jinja",
                '        ".github/workflows/ci.yml",\n',
                '        ".github/workflows/ci.yml",\n        ".github/workflows/template.yml",\n',
            ),
        ),
        "one mover of every pin",
        r"template\.yml, .*Renovate moves it, too",
        {"ci": "github"},
    ),
    Mutant(
        "the index of another accelerator, in one manager's settings",
        (
            Edit(
                "template/{{ uv }}/pyproject.toml.part",
                "/{{ 'cu128' if variant == 'cu126' else builds.accelerators[variant].backend }}",
                "/{{ builds.accelerators[variant].backend }}",
            ),
        ),
        "indexes fit the accelerator",
        r"cu126 takes .*/cu128, which is not the index of its build",
        {"framework": "pytorch", "package_manager": "uv", "accelerator": "cu126"},
    ),
    Mutant(
        "an editor that looks for another environment",
        (Edit("template/editor-settings.part", "env/bin/python", ".venv/bin/python"),),
        "editors agree with the README",
        r"env/bin/python",
        {"editor": any_of("vscode", "cursor"), "package_manager": any_of("uv", "pip", "poetry")},
    ),
    Mutant(
        "a task that an editor does not offer",
        (Edit("template/{{ uv }}/tasks.part", 'docs = { help = "Show the README.", cmd = "cat README.md" }\n'),),
        "editors offer every task",
        r"\.vscode/tasks\.json does not offer the task docs",
        {"editor": any_of("vscode", "cursor"), "package_manager": "uv"},
    ),
    Mutant(
        "a file for an image that stays outside of it",
        (Edit("template/{{ docker }}/{{ poetry }}/dockerignore.part", "", "!poetry.toml\n"),),
        "images get what they copy",
        r"it copies poetry\.toml, which \.dockerignore does not let through",
        {"package_manager": "poetry"},
    ),
    Mutant(
        "an extension that a dev container lacks",
        (
            Edit(
                "template/{{ vscode }}/.vscode/extensions.json.jinja",
                '"ada.lace",\n    "ms-python.debugpy"',
                '"ms-python.debugpy"',
            ),
        ),
        "containers have the editor's extensions",
        r"the dev container does not bring ada\.lace",
        {"editor": "vscode"},
    ),
    Mutant(
        "an answer that changes nothing",
        (
            Edit(QUESTIONS, "    Cursor: cursor\n    Zed: zed\n", "    Cursor: cursor\n"),
            Edit("questions/layers.yml", "editor in ['none', 'zed']", "editor == 'none'"),
        ),
        "every answer matters",
        r"zed and none give the same repository|none and zed give the same repository",
    ),
]

# What the tasks of the generated repository find in it

TASKS = [
    Mutant(
        "a finding of Ruff under the repository's own settings",
        (Edit(f"{JAX}/tracing.py", "\n\nassert Trace\n"),),
        "lint",
        r"S101",
        {"framework": "jax"},
    ),
    Mutant(
        "a type error that mypy alone finds",
        (
            Edit(
                f"{JAX}/tracing.py", "\n\ndef odd() -> str:\n    value = 1\n    value = str(value)\n    return value\n"
            ),
        ),
        "types",
        r"\[assignment\]",
        {"framework": "jax", "type_checker": "mypy"},
    ),
    Mutant(
        "a type error that pyright alone finds",
        (Edit(f"{JAX}/tracing.py", "\n\nclass Odd:\n    _own = 1\n\n\nprint(Odd()._own)\n"),),
        "types",
        r"reportPrivateUsage",
        {"framework": "jax", "type_checker": "pyright"},
    ),
    Mutant(
        "a type error that ty alone finds",
        (Edit(f"{JAX}/tracing.py", "\n\nODD = 1  # ty: ignore[invalid-assignment]\n"),),
        "types",
        r"unused-ignore-comment",
        {"framework": "jax", "type_checker": "ty"},
    ),
    Mutant(
        "a test that fails with one library alone",
        (Edit("template/{{ nnx }}/tests/test_model.py.jinja", ODD_TEST),),
        "test",
        r"FAILED tests/test_model\.py::test_odd",
        {"framework": "jax", "library": "nnx"},
    ),
    Mutant(
        "an exported model that takes one number of rows alone",
        (Edit(f"{PYTORCH_ONNX}/graph.py", "shapes=(length,),", 'shapes=({0: Dim("batch"), **length},),'),),
        "test",
        r"ERROR tests/test_export\.py.*ONNX Runtime does not take tokens of shape \(1,",
        {"framework": "pytorch", "serving": any_of("onnx", "fastapi")},
    ),
    Mutant(
        "the same of TensorFlow",
        (Edit(f"{TENSORFLOW_ONNX}/graph.py", "((2, None if", "((None, None if"),),
        "test",
        r"ERROR tests/test_export\.py.*ONNX Runtime does not take tokens of shape \(1,",
        {"framework": "tensorflow", "serving": any_of("onnx", "fastapi")},
    ),
    Mutant(
        "a model of TensorFlow that takes one length alone",
        (Edit(f"{TENSORFLOW}/model.py", ": tokens_BT.shape[1]]", ": tf.shape(tokens_BT)[1]]"),),
        "test",
        r"ERROR tests/test_export\.py.*ONNX Runtime",
        {"framework": "tensorflow", "example": "text", "serving": any_of("onnx", "fastapi")},
    ),
    Mutant(
        "a service that gives some the answers of others",
        (Edit(f"{SERVICE}/serve.py", "logits[: len(job.tokens)]", "logits[end - len(job.tokens) : end]"),),
        "test",
        r"FAILED tests/test_serve\.py::test_requests_that_wait_are_computed_together",
        {"serving": "fastapi"},
    ),
]

# What the package managers take

LOCKS = [
    Mutant(
        "the index of another accelerator",
        (
            Edit(
                "stack.yml",
                "backend: cu128, from_index: [torch]}\n        # torch 2.11",
                "backend: cu126, from_index: [torch]}\n        # torch 2.11",
            ),
        ),
        "uv",
        r"cu128",
        {"framework": "pytorch", "package_manager": "uv", "accelerator": "cu126"},
    ),
]

MUTANTS = [*TEMPLATE, *TOOLS, *JOINS, *TASKS, *LOCKS]
