"""Facts about several files of one repository, in every combination of answers.

Each join is a function of a `Proof` that gives its problems. It asks of what one file says (`reading.py`) whether
another one agrees wherever both are generated (`said.py` knows the combinations).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import lru_cache, reduce
from itertools import combinations
from operator import or_
from pathlib import PurePosixPath
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from proof import Proof
from reading import ANY, DEVELOPMENT, IMPORTS, PROGRAMS
from repositories import STACK
from said import Condition, Said, Saying, meeting, said

Join = Callable[[Proof], list[str]]

ALWAYS = Condition(frozenset(), lambda _: True)
MACHINE = {"apptainer", "bash", "cd", "curl", "docker", "eval", "export", "git", "mkdir", "source", "uvx"}
"""Programs and words of the shell that are there before the environment is; uvx brings itself what it runs."""
CI_MACHINE = {"pip", "pipx"}
"""What the images and runners of CI bring, too."""

UNLISTED = {"README.md", "__init__.py", "py.typed"}  # in the README's list of files, by their names
ACTION = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
IMAGE = re.compile(r"[\w/-]+:[\w.-]+@sha256:[0-9a-f]{64}")


# Paths


def folded(path: str) -> str:
    """What is the same for two paths if some file system takes them for the same."""
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", path).casefold())


def one_owner(proof: Proof) -> list[str]:
    """No two files write one path, and no two paths are one where a file system is not exact about letters."""
    places: dict[str, dict[tuple[str, str], Condition]] = defaultdict(dict)
    for file in proof.factors.files:
        for path in file.paths():
            when = Condition.of_path(file, path)
            for folder in PurePosixPath(path).parents[:-1]:
                known = places[folded(str(folder))]
                key = (f"{folder}/", "")
                known[key] = known[key] | when if key in known else when
            places[folded(path)][path, f", from {file.name}"] = when
    return [
        f"{''.join(first)} and {''.join(second)} are one path; it shows with {proof.words(point)}"
        for owners in places.values()
        for (first, when), (second, then) in combinations(owners.items(), 2)
        if (point := meeting(proof, [when, then]))
    ]


def paths_exist(proof: Proof) -> list[str]:
    """A path that a file names is generated, or kept out of git, or written by a task."""
    everything = said(proof)
    return everything.without(
        ((saying, existing(everything, saying.fact[1])) for saying in everything["path"]),
        "it names {0}, which is not there",
    )


def files_can_be_read(proof: Proof) -> list[str]:
    """What a file says can be told: it is well-formed, and has what files of its kind have."""
    everything = said(proof)
    problems = everything.without(((saying, []) for saying in everything["unreadable"]), "it cannot be read: {0}")
    return [*everything.undecided, *problems]


def existing(everything: Said, path: str) -> list[Condition]:
    """When a path is there: generated, written by a task, or made while one works, so that git is told to ignore it."""
    path = path.removesuffix("/")
    made = [saying.when for saying in everything["ignores"] if ignored(f"{path}/file", saying.fact[1])]
    return [*everything.folders.get(path, []), *made, *everything.when("writes", path)]


def ignored(path: str, pattern: str) -> bool:
    """Whether a pattern of a .gitignore keeps a path out of git."""
    name = pattern.removesuffix("/")
    if "/" in name:  # from the folder of the .gitignore on
        return fnmatch(path, f"{name.removeprefix('/')}/*") or fnmatch(path, name.removeprefix("/"))
    parts = path.split("/")
    return any(fnmatch(part, name) for part in (parts[:-1] if pattern.endswith("/") else parts))


def git_keeps_every_file(proof: Proof) -> list[str]:
    """No generated file is ignored by git."""
    everything = said(proof)
    return [
        f"{path} is ignored by {saying.path}: {saying.fact[1]}; it shows with {proof.words(point)}"
        for saying in everything["ignores"]
        for path, owners in everything.files.items()
        if ignored(path, saying.fact[1])
        for _, when in owners
        if (point := meeting(proof, [saying.when, when]))
    ]


def readme_lists_the_files(proof: Proof) -> list[str]:
    """The README's list of files has every file, by itself or in a folder, and nothing else."""
    everything = said(proof)
    problems = everything.without(
        ((saying, existing(everything, saying.fact[1])) for saying in everything["lists"]),
        "it lists {0}, which is not there",
    )
    listed = {saying.fact[1]: saying.when for saying in everything["lists"]}
    for path, owners in everything.files.items():
        if PurePosixPath(path).name in UNLISTED:
            continue
        offers = [
            when for name, when in listed.items() if path == name or (name.endswith("/") and path.startswith(name))
        ]
        for file, when in owners:
            if point := meeting(proof, [when], offers):
                words = proof.words(point)
                problems.append(f"{path}, from {file.name}: the README does not list it; it shows with {words}")
    return problems


def anchors_exist(proof: Proof) -> list[str]:
    """A link leads to a heading that there is."""
    everything = said(proof)
    needed = ((saying, everything.when("defines anchor", saying.fact[1])) for saying in everything["anchor"])
    return everything.without(needed, "it links to {0}, which is no heading")


# Commands


def tasks_exist(proof: Proof) -> list[str]:
    """A task that is called is defined, and a task that is defined is called in the README."""
    everything = said(proof)
    needed = ((saying, everything.when("defines task", saying.fact[1])) for saying in everything["task"])
    called = defaultdict(list)
    for saying in everything["task"]:
        if saying.path == "README.md":
            called[saying.fact[1]].append(saying.when)
    shown = ((saying, called[saying.fact[1]]) for saying in everything["defines task"])
    return [
        *everything.without(needed, "it calls the task {0}, which is not defined"),
        *everything.without(shown, "it defines the task {0}, which the README does not show"),
    ]


def modules_run(proof: Proof) -> list[str]:
    """`python -m` is given a module that can be run, and a subcommand, a named run and options that it has."""
    everything = said(proof)

    def offers(saying: Saying) -> list[Condition]:
        kind, module, *rest = saying.fact
        if module in sys.stdlib_module_names:
            return [ALWAYS]
        if kind == "runs":
            return everything.when("defines module", f"{module}.__main__")
        if kind == "named run":
            return everything.when("defines module", f"{module}.configs.{rest[0]}")
        if kind == "engine":
            return everything.when("defines module", f"{module}.engines.{rest[0]}")
        if kind == "launch option":  # of the engine, or of all
            return [
                when for engine in (rest[0], "") for when in everything.when(f"defines {kind}", module, engine, rest[1])
            ]
        return everything.when(f"defines {kind}", module, *rest)

    kinds = ("runs", "subcommand", "named run", "option", "launch verb", "engine", "launch option")
    return [
        problem
        for kind in kinds
        for problem in everything.without(
            ((saying, offers(saying)) for saying in everything[kind]),
            f"{kind} {'{0}' if kind == 'runs' else '{2}' if kind == 'launch option' else '{1}'}: there is none",
        )
    ]


def changes_are_spelled_as_the_configuration_reads_them(proof: Proof) -> list[str]:
    """What changes a run is written as flags of tyro where tyro reads it, and as overrides of Hydra where that does."""
    everything = said(proof)
    needed = ((saying, everything.when("defines spelling", saying.fact[1])) for saying in everything["spelling"])
    return everything.without(needed, "it changes a run by a {0}, which is not how this configuration spells it")


def programs_are_installed(proof: Proof) -> list[str]:
    """A command's program is a package manager that was chosen, or brought by a package of every environment."""
    everything = said(proof)
    problems: list[str] = []
    for saying in everything["program"]:
        _, _, program, place = saying.fact
        if (
            program in MACHINE
            or (place == "machine" and program in CI_MACHINE)
            or re.fullmatch(r"python[\d.]*", program)
        ):
            continue
        manager = [when(proof, "package_manager", program)] if program in stack(proof)["run"] else []
        package = canonicalize_name(PROGRAMS.get(program, program))
        problems += installed(everything, saying, package, manager, f"no package brings the program {program}")
    return problems


def installed(everything: Said, saying: Saying, package: str, otherwise: list[Condition], words: str) -> Iterator[str]:
    """A problem for each environment that lacks a package which `saying` needs, also under its name on conda-forge."""
    packages = IMPORTS.get(package, (package,))
    for environment in {other.fact: other for other in everything["installs"]}.values():
        place = environment.fact[1]
        present = reduce(or_, everything.when("installs", place))
        manifest = place.partition(" ")[0]
        parts = {place, manifest, f"{manifest} {DEVELOPMENT}"}
        offers = [
            condition for part in parts for name in packages for condition in everything.when("requires", part, name)
        ]
        if point := everything.meeting([saying.when, present], [*offers, *otherwise]):
            yield everything.problem(saying, f"{words} in {place}", point)


def commands_start_as_the_manager_wants(proof: Proof) -> list[str]:
    """Where the environment is not activated, what runs in it stands behind `uv run` or its like; elsewhere nothing."""
    everything = said(proof)
    brought = {PROGRAMS.get(name, name) for *_, name in (saying.fact for saying in everything["requires"])}
    problems = []
    for saying in everything["program"]:
        _, runner, program, place = saying.fact
        inside = program == "python" or PROGRAMS.get(program, program) in brought
        if place == "task" or program in stack(proof)["run"] or not (inside or runner):
            continue
        if point := everything.meeting([saying.when], [when(proof, "run", runner)]):
            problems.append(everything.problem(saying, f"`{runner}{program}` is not how this manager runs it", point))
    return problems


def ci_checks_what_the_check_checks(proof: Proof) -> list[str]:
    """CI runs the tasks of `poe check`, each by itself, and no other."""
    everything = said(proof)
    problems = everything.without(
        ((saying, everything.when("checks", saying.fact[1])) for saying in everything["tests"]),
        "it runs the task {0}, which is not one of `poe check`",
    )
    pipelines = {saying.path: Condition.of_path(saying.file, saying.path) for saying in everything["tests"]}
    for saying in everything["checks"]:
        for path, there in pipelines.items():
            tested = [
                other.when for other in everything["tests"] if (other.path, other.fact[1]) == (path, saying.fact[1])
            ]
            if point := everything.meeting([saying.when, there], tested):
                problems.append(everything.problem(saying, f"{path} does not run the task {saying.fact[1]}", point))
    return problems


# Packages


def imports_are_declared(proof: Proof) -> list[str]:
    """An import is of Python itself, of a module that is there, or of a package of every environment."""
    everything = said(proof)
    problems = []
    for saying in everything["import"]:
        module = saying.fact[1]
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top in STACK["programs"] and saying.path.startswith("launch/"):
            continue  # the program that reads the file brings it
        if everything.when("defines module", top):
            problems += everything.without(
                [(saying, modules(everything, module))], "it imports {0}, which is not there"
            )
        else:
            package = canonicalize_name(top)
            problems += installed(everything, saying, package, [], f"it imports {module}, which is not declared")
    for saying in everything["import name"]:
        _, module, name = saying.fact
        if everything.when("defines module", module):
            offers = [*everything.when("defines name", module, name), *modules(everything, f"{module}.{name}")]
            problems += everything.without([(saying, offers)], "it imports {1} from {0}, which does not define it")
    return problems


def modules(everything: Said, module: str) -> list[Condition]:
    return everything.when("defines module", module)


def imported_names_are_kept_free(proof: Proof) -> list[str]:
    """No project can be called like a package that is imported (shared/names.yml)."""
    everything = said(proof)
    kept = set(load(proof, "shared/names.yml")["packages"])
    imported = {saying.fact[1].partition(".")[0]: saying for saying in everything["import"]}
    return [
        f"{saying.path}, from {saying.file.name}: shared/names.yml does not name {name}, which it imports"
        for name, saying in imported.items()
        if name not in {*sys.stdlib_module_names, *kept} and not everything.when("defines module", name)
    ]


def declared_packages_are_used(proof: Proof) -> list[str]:
    """A package that an environment requires is imported, or its program is run; what pins a build need not be."""
    everything = said(proof)
    pins = set(pinned(proof))
    used = defaultdict(list)
    for saying in everything["import"]:
        for name in packages_of(saying.fact[1].partition(".")[0]):
            used[name].append(saying.when)
    for saying in everything["program"]:
        for name in packages_of(PROGRAMS.get(saying.fact[2], saying.fact[2])):
            used[name].append(saying.when)
    needed = ((saying, used[saying.fact[2]]) for saying in everything["requires"] if saying.fact[2] not in pins)
    return everything.without(needed, "{0} requires {1}, which nothing uses")


def packages_of(name: str) -> tuple[str, ...]:
    """The packages that bring an import."""
    return IMPORTS.get(name, (str(canonicalize_name(name)),))


def pinned(proof: Proof) -> Iterator[str]:
    """Packages that a build names to choose among the builds of what its first one requires (stack.yml)."""
    for channels in stack(proof)["builds"].values():
        for channel in channels.values():
            for build in channel["accelerators"].values():
                for key in ("requires", "on_cpu", "automatic", "poetry"):
                    for requirement in build.get(key, [])[key != "poetry" :]:
                        yield str(canonicalize_name(re.split(r"[^\w.-]", requirement)[0]))


def environments_hold_what_the_package_requires(proof: Proof) -> list[str]:
    """What the package requires is in every environment file, so that pip adds nothing to it."""
    everything = said(proof)
    return [
        problem
        for saying in everything["requires"]
        if saying.fact[1] == saying.path == "pyproject.toml"
        for problem in installed(everything, saying, saying.fact[2], [], f"it requires {saying.fact[2]}, which is not")
    ]


# What has to be the same everywhere


def one_python(proof: Proof) -> list[str]:
    """Every file that names a version of Python names the one that the package requires."""
    everything = said(proof)
    needed = ((saying, everything.when("requires python", saying.fact[1])) for saying in everything["python"])
    return everything.without(needed, "it names Python {0}, and the package requires another")


def one_name(proof: Proof) -> list[str]:
    """The distribution is called like the package, and the environment like its file says."""
    everything = said(proof)
    problems = everything.without(
        ((saying, modules(everything, saying.fact[1].replace("-", "_"))) for saying in everything["distribution"]),
        "the distribution is called {0}, and there is no such package",
    )
    needed = (
        (saying, everything.when("defines environment name", saying.fact[1]))
        for saying in everything["environment name"]
    )
    return [*problems, *everything.without(needed, "no file makes an environment {0}")]


def pins_are_in_the_catalogue(proof: Proof) -> list[str]:
    """Every action and image of CI is in stack.yml, by the hash of what it contains; and everything there is used."""
    everything = said(proof)
    actions, images = set(texts(stack(proof)["actions"])), set(texts(stack(proof)["images"]))
    known = actions | images
    problems = [f"stack.yml: {pin} is not pinned by its commit" for pin in sorted(actions) if not ACTION.fullmatch(pin)]
    problems += [f"stack.yml: {pin} is not pinned by its digest" for pin in sorted(images) if not IMAGE.fullmatch(pin)]
    by_digest = {re.sub(":[^@]+@", "@", image): image for image in images}  # as Apptainer wants it
    known |= by_digest.keys()
    used = {by_digest.get(saying.fact[1], saying.fact[1]) for saying in everything["pins"]}
    problems += [f"stack.yml: nothing uses {pin}" for pin in sorted((actions | images) - used)]
    offers = {pin: [ALWAYS] for pin in known}
    needed = ((saying, offers.get(saying.fact[1], [])) for saying in everything["pins"])
    return [*problems, *everything.without(needed, "stack.yml does not have {0}")]


def one_mover(proof: Proof) -> list[str]:
    """What the template pins, Renovate leaves alone: it would come into conflict with the next version."""
    everything = said(proof)
    there = [Condition.of_path(saying.file, saying.path) for saying in everything["left alone"]]
    axes = frozenset[str]().union(*(condition.axes for condition in there))
    without_it = Condition(axes, lambda point: not any(condition.holds(point) for condition in there))
    needed = ((saying, [*everything.when("left alone", saying.path), without_it]) for saying in everything["pins"])
    return everything.without(needed, "it pins {0}, and Renovate moves it, too")


def indexes_fit_the_accelerator(proof: Proof) -> list[str]:
    """A variant takes its packages from the index of its build in stack.yml, and every variant with an index does."""
    everything = said(proof)
    base = stack(proof)["pytorch_index"]
    axes = proof.space.axes_of(["builds", "variants"])

    def builds(variant: str, index: str) -> Condition:
        def fitting(point: Any) -> bool:
            build = accelerators(point).get(variant, {})
            return variant in variants(point) and index == f"{base}/{build.get('backend')}"

        return Condition(axes, fitting)

    def accelerators(point: Any) -> dict[str, Any]:
        found: dict[str, Any] = proof.space.value("builds", point)["accelerators"]  # type: ignore[index]
        return found

    def variants(point: Any) -> list[str]:
        found: list[str] = proof.space.value("variants", point)  # type: ignore[assignment]
        return found

    needed = ((saying, [builds(saying.fact[1], saying.fact[3])]) for saying in everything["index"])
    problems = everything.without(needed, "{0} takes {1} from {2}, which is not the index of its build")
    wanted = {
        (variant, name)
        for point in proof.space.points(axes)
        for variant in variants(point)
        for name in accelerators(point)[variant].get("from_index", [])
    }
    for variant, name in sorted(wanted):
        taken = [
            saying.when for saying in everything["index"] if saying.fact[1] == variant and saying.fact[2] in {ANY, name}
        ]

        def holds(point: Any, variant: str = variant, name: str = name) -> bool:
            return variant in variants(point) and name in accelerators(point)[variant].get("from_index", [])

        if point := meeting(proof, [Condition(axes, holds)], taken):
            problems.append(f"{variant} does not take {name} from its index; it shows with {proof.words(point)}")
    return problems


def editors_agree_with_the_readme(proof: Proof) -> list[str]:
    """An editor takes its interpreter from the environment that the README makes, and is given what it formats with."""
    everything = said(proof)
    needed = ((saying, everything.when("recommends", saying.fact[1])) for saying in everything["extension"])
    problems = everything.without(needed, "it formats with {0}, which is not recommended")
    folders = [(saying, saying.fact[1].split("/")[0]) for saying in everything["path"]]
    interpreters = (
        (saying, [other.when for other, known in folders if other.path == "README.md" and known == folder])
        for saying, folder in folders
        if saying.path.startswith(".vscode/")
    )
    return [*problems, *everything.without(interpreters, "it takes {0}, which the README does not speak of")]


def editors_offer_every_task(proof: Proof) -> list[str]:
    """The tasks of an editor are those of poe, each behind what reaches the environment without its being active."""
    everything = said(proof)
    there = {saying.path: Condition.of_path(saying.file, saying.path) for saying in everything["offers task"]}
    problems = [
        everything.problem(saying, f"{path} does not offer the task {saying.fact[1]}", point)
        for saying in everything["defines task"]
        for path, condition in there.items()
        if (point := everything.meeting([saying.when, condition], everything.when("offers task", saying.fact[1])))
    ]
    reached = (
        (saying, [when(proof, "run_anywhere", saying.fact[1])])
        if "--name " not in saying.fact[1]
        else (saying, [when(proof, "package_manager", "conda")])
        for saying in everything["reaches the environment"]
    )
    return [*problems, *everything.without(reached, "`{0}` does not reach the environment of this manager")]


def images_get_what_they_copy(proof: Proof) -> list[str]:
    """What a Dockerfile copies is let through by .dockerignore, and nothing else is."""
    everything = said(proof)
    sent = ((saying, let(everything, saying.fact[1])) for saying in everything["copies"])
    needed = ((saying, taken(everything, saying.fact[1])) for saying in everything["lets through"])
    return [
        *everything.without(sent, "it copies {0}, which .dockerignore does not let through"),
        *everything.without(needed, "it lets {0} through, which the Dockerfile does not copy"),
    ]


def let(everything: Said, path: str) -> list[Condition]:
    """When a path, or a folder that it is in, is let through."""
    return [other.when for other in everything["lets through"] if f"{path}/".startswith(f"{other.fact[1]}/")]


def taken(everything: Said, path: str) -> list[Condition]:
    """When a path, or something in it, is copied."""
    return [other.when for other in everything["copies"] if f"{other.fact[1]}/".startswith(f"{path}/")]


def containers_have_the_editors_extensions(proof: Proof) -> list[str]:
    """A dev container gets the extensions that the editor recommends."""
    everything = said(proof)
    needed = [
        (saying, everything.when("recommends", saying.fact[1])) for saying in everything["recommends for the container"]
    ]
    there = [Condition.of_path(saying.file, saying.path) for saying, _ in needed]
    problems = everything.without(needed, "it brings {0}, which the editor does not recommend")
    for saying in everything["recommends"]:
        offers = everything.when("recommends for the container", saying.fact[1])
        chosen = [saying.when, when(proof, "editor", "vscode"), *there[:1]]
        if there and (point := everything.meeting(chosen, offers)):
            problems.append(everything.problem(saying, f"the dev container does not bring {saying.fact[1]}", point))
    return problems


# Answers


def every_answer_matters(proof: Proof) -> list[str]:
    """Each two answers that a question takes at once give different repositories, beside the file that records them."""
    space = proof.space
    alike = {name: alternatives(proof, name) for name in space.names if not space.is_text(name)}
    for file in proof.factors.files:
        if file.name.endswith("answers_file }}.jinja"):
            continue
        pieces: list[tuple[tuple[str, ...], Callable[[Any], Any]]] = [(space.ordered(file.path_axes), file.path)]
        pieces += [(part.axes, part.text) for part in file.parts]
        for axes, text in pieces:
            for name in alike.keys() & set(axes):
                alike[name] -= told_apart(proof, name, axes, text)
    return [
        f"{space.place(name)}: {space.domains[name][one]} and {space.domains[name][other]} give the same repository"
        for name, pairs in alike.items()
        for one, other in sorted(map(sorted, pairs))
    ]


def alternatives(proof: Proof, name: str) -> set[frozenset[int]]:
    """Pairs of answers to a question that are both allowed after some answers to the questions before it."""
    space = proof.space
    position = space.names.index(name)
    by_rest: dict[Any, set[int]] = defaultdict(set)
    for point in space.points(space.closure([name])):
        by_rest[(*point[:position], *point[position + 1 :])].add(point[position])
    return {frozenset(pair) for answers in by_rest.values() for pair in combinations(answers, 2)}


def told_apart(proof: Proof, name: str, axes: tuple[str, ...], text: Callable[[Any], Any]) -> set[frozenset[int]]:
    """Pairs of answers to a question between which a text differs, or of which only one is allowed."""
    space = proof.space
    position = space.names.index(name)
    by_rest: dict[Any, dict[int, Any]] = defaultdict(dict)
    for point in space.points(axes):
        by_rest[(*point[:position], *point[position + 1 :])][point[position]] = text(point)
    return {
        frozenset(pair)
        for texts in by_rest.values()
        for pair in combinations(texts, 2)
        if texts[pair[0]] != texts[pair[1]]
    }


# The catalogue


@lru_cache(maxsize=4)
def load(proof: Proof, name: str) -> Any:
    """A YAML file of the template."""
    return yaml.safe_load((proof.template.root / name).read_text(encoding="utf-8"))


def stack(proof: Proof) -> Any:
    return load(proof, "stack.yml")


def texts(data: Any) -> Iterator[str]:
    """The texts in a mapping of mappings."""
    for value in data.values():
        yield from texts(value) if isinstance(value, dict) else [value]


def when(proof: Proof, name: str, value: object) -> Condition:
    """When a question or a hidden value has this value."""
    return Condition(proof.space.axes_of([name]), lambda point: proof.space.value(name, point) == value)


JOINS: dict[str, Join] = {
    "one owner of every path": one_owner,
    "files can be read": files_can_be_read,
    "named paths exist": paths_exist,
    "git keeps every file": git_keeps_every_file,
    "the README lists the files": readme_lists_the_files,
    "named anchors exist": anchors_exist,
    "called tasks exist": tasks_exist,
    "modules run with these arguments": modules_run,
    "changes are spelled as the configuration reads them": changes_are_spelled_as_the_configuration_reads_them,
    "programs are installed": programs_are_installed,
    "commands start as the manager wants": commands_start_as_the_manager_wants,
    "CI checks what `poe check` checks": ci_checks_what_the_check_checks,
    "imports are declared": imports_are_declared,
    "imported names are kept free": imported_names_are_kept_free,
    "declared packages are used": declared_packages_are_used,
    "environments hold what the package requires": environments_hold_what_the_package_requires,
    "one Python": one_python,
    "one name": one_name,
    "pins are in the catalogue": pins_are_in_the_catalogue,
    "one mover of every pin": one_mover,
    "indexes fit the accelerator": indexes_fit_the_accelerator,
    "editors agree with the README": editors_agree_with_the_readme,
    "editors offer every task": editors_offer_every_task,
    "images get what they copy": images_get_what_they_copy,
    "containers have the editor's extensions": containers_have_the_editors_extensions,
    "every answer matters": every_answer_matters,
}
"""Each join by its name: it gives its problems, each with the paths and the smallest combination that shows it."""
