"""An archive for blind review: the files that git tracks, as they are now, without what says whose they are.

What is known about the authors is looked up first: in the settings and the history of git, the answers given to the
template, CITATION.cff, pyproject.toml, LICENSE, the environment, and this machine. Addresses, links and full names are
replaced wherever they stand. Then the archive is searched for all of it, and for words that cannot be replaced without
a look at the sentence, such as a family name. One that is left is an error that names its file and line.
"""

import getpass
import json
import os
import platform
import re
import sys
import tomllib
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .frozen import git
from .run import RunError, load_config, writing

TEMPLATE = "https://github.com/labrig/labrig"
ANSWERS = ".copier-answers.yml"
ARCHIVE = Path("dist/anonymous.zip")
RECORDS = ("config.json", "metrics.jsonl", "result.json", "code.json")
"""Of a run. Not launch.json, which says who started it and on which cluster; not the checkpoints."""
MOST_LINES = 20
"""Of an error."""

PERSON, ADDRESS, LINK = "Anonymous", "anonymous@example.org", "example.org/anonymous"
NOBODY = {"admin", "coder", "jovyan", "localhost", "root", "runner", "ubuntu", "user", "vscode"}
"""Users and hosts of images, which are the same for many people."""
PUBLIC = {
    *("gmail.com", "googlemail.com", "hotmail.com", "icloud.com", "outlook.com", "proton.me", "protonmail.com"),
    *("bitbucket.org", "codeberg.org", "github.com", "gitlab.com", "huggingface.co", "users.noreply.github.com"),
    *("example.com", "example.org"),
}
"""Hosts that say nothing about who uses them."""
MACHINES = ("noreply@github.com", "[bot]")
"""How authors of commits end who are no persons."""
ADDRESS_OF_REPOSITORY = re.compile(r"(?:\w+://)?(?:[^@/]*@)?(?P<host>[\w-]+(?:\.[\w-]+)+)(?::\d+)?[:/]?(?P<path>.*)")
HOLDER = re.compile(r"^(Copyright (?:\([cC]\) |© )?(?:[\d, -]+ )?)(.+)$", re.MULTILINE)
ACCOUNT = re.compile(r"_(ENTITY|USERNAME|TRACKING_URI|SPACE_ID)$")
"""Environment variables that say as whom a service is used."""
LOCAL = re.compile(r"^(file|sqlite):|//(localhost|127\.)")
"""A service that is everybody's own."""


@dataclass(frozen=True)
class Name:
    """Something that tells who the authors are."""

    text: str
    source: str
    """Where it is known from."""
    instead: str = ""
    """What takes its place; empty for what has to be looked at."""
    any_case: bool = True

    @property
    def pattern(self) -> re.Pattern[str]:
        """The name as words of their own, divided by any space."""
        words = r"\s+".join(map(re.escape, self.text.split()))
        return re.compile(rf"(?<![^\W_]){words}(?![^\W_])", re.IGNORECASE if self.any_case else 0)


@dataclass(frozen=True)
class Member:
    """A file of the archive."""

    path: str
    mode: int
    content: bytes

    @property
    def text(self) -> str | None:
        """None if it is no text."""
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None


def anonymize(folder: Path, runs: Sequence[Path], keep: Sequence[str] = ()) -> Path:
    """Write the archive of the repository around `folder`, with the records of `runs`. Returns its path.

    The words in `keep` are no names, whatever git and this machine say. Raises RunError if a name is left.
    """
    root = Path(git(folder, "rev-parse", "--show-toplevel"))
    kept = {word.casefold() for word in keep}
    names = [name for name in known_names(root) if name.text.casefold() not in kept]
    members = [without(member, names) for member in [*tracked(root), *records(runs)]]
    (root / ARCHIVE).parent.mkdir(exist_ok=True)
    if new := git(root, "ls-files", "--others", "--exclude-standard").splitlines():
        print(f"note: left out, because git does not track them: {', '.join(new)}", file=sys.stderr)
    with writing(root / ARCHIVE) as partial:
        pack(members, partial)
        left = [*search(partial, names)]
        if left:
            partial.unlink()
            more = [f"and {len(left) - MOST_LINES} more"] if len(left) > MOST_LINES else []
            raise RunError(
                "there is no archive, because these names would be left in it; change the lines, "
                "or say --keep WORD for one that is no name:\n  " + "\n  ".join([*left[:MOST_LINES], *more])
            )
    return root / ARCHIVE


# What is known


def known_names(root: Path) -> list[Name]:
    """Everything that tells who the authors are, each once, and the longer before what is a part of it."""
    found = [*people(root), *links(root), *this_machine()]
    once: dict[str, Name] = {}
    for name in sorted(found, key=lambda name: (not name.instead, -len(name.text), not name.any_case)):
        once.setdefault(name.text.casefold(), name)
    return [name for text, name in once.items() if len(text) > 1]


def people(root: Path) -> Iterator[Name]:
    settings = [(key, git_or_nothing(root, "config", key)) for key in ("user.name", "user.email")]
    yield from (name for key, value in settings for name in of_person(value, f"git config {key}"))
    log = git_or_nothing(root, "log", "--all", "--format=%an <%ae>%n%cn <%ce>")
    for line in dict.fromkeys(log.splitlines()):
        person, _, address = line.removesuffix(">").rpartition(" <")
        if not person.endswith(MACHINES) and not address.endswith(MACHINES):
            yield from of_person(person, "the history of git")
            yield from of_person(address, "the history of git")
    for key, value in answers(root):
        if key in {"author_name", "author_email"}:
            yield from of_person(value, f"the answer {key}")
    manifest = tomllib.loads(read(root / "pyproject.toml")).get("project", {})
    for author in [*manifest.get("authors", []), *manifest.get("maintainers", [])]:
        yield from (name for value in author.values() for name in of_person(value, "pyproject.toml"))
    for key, value in citation(root):
        if key in {"name", "family-names", "email"}:
            yield from of_person(value, "CITATION.cff")
        elif key in {"affiliation", "alias", "orcid"}:
            yield Name(value, "CITATION.cff", PERSON if len(value.split()) > 1 else "")
    for _, holder in HOLDER.findall(read(root / "LICENSE")):
        yield from [name for name in of_person(holder, "LICENSE") if name.text == holder]  # it may be a group


def of_person(value: str, source: str) -> Iterator[Name]:
    """What a name or an address tells: itself, and the family name or the institution that is in it."""
    value = " ".join(value.split())
    if "@" in value:
        yield Name(value, source, ADDRESS)
        host = value.rpartition("@")[2]
        if host.casefold() not in PUBLIC:
            yield Name(host, source)
    elif " " in value and not value.casefold().startswith("the authors of "):  # the template's word for nobody
        yield Name(value, source, PERSON)
        yield Name(value.split()[-1], source, any_case=False)
    elif value and " " not in value:
        yield Name(value, source, any_case=False)


def links(root: Path) -> Iterator[Name]:
    """Where the repository is, in the ways that it can be written, and whose account that is."""
    urls = [(f"git remote {line.split()[0]}", line.split()[1]) for line in git(root, "remote", "-v").splitlines()]
    urls += [(f"the answer {key}", value) for key, value in answers(root) if key in {"repository", "_src_path"}]
    urls += [("CITATION.cff", value) for key, value in citation(root) if key in {"repository-code", "url", "website"}]
    manifest = tomllib.loads(read(root / "pyproject.toml")).get("project", {})
    urls += [("pyproject.toml", value) for value in manifest.get("urls", {}).values()]
    for source, url in urls:
        parts = ADDRESS_OF_REPOSITORY.fullmatch(url)
        if parts is None or url.startswith(TEMPLATE):
            continue
        host, path = parts["host"], parts["path"].strip("/").removesuffix(".git")
        if host.casefold() not in PUBLIC:
            yield Name(host, source, LINK.partition("/")[0])
        if path:
            yield Name(f"{host}/{path}", source, LINK)
            yield Name(f"{host}:{path}", source, LINK)
        if "/" in path:
            yield Name(path, source, LINK.partition("/")[2])
            yield Name(path.partition("/")[0], source)


def this_machine() -> Iterator[Name]:
    user = getpass.getuser()
    if user.casefold() not in NOBODY:
        yield Name(str(Path.home()), "your home folder", f"/home/{PERSON.lower()}")
        yield Name(user, "your user name")
    for host in {platform.node(), platform.node().partition(".")[0]} - {""}:
        if host.casefold() not in NOBODY:
            yield Name(host, "the name of this machine")
    for variable, value in os.environ.items():
        if value and ACCOUNT.search(variable) and not LOCAL.search(value):
            yield Name(value, variable)


# What takes its place


def without(member: Member, names: Sequence[Name]) -> Member:
    """The file with all replaced that can be."""
    text = member.text
    if text is None:
        return member
    if member.path == "CITATION.cff":
        title = next((line for line in text.splitlines() if line.startswith("title:")), "title: the code")
        text = f"cff-version: 1.2.0\nmessage: Under review.\ntype: software\n{title}\nauthors:\n  - name: {PERSON}\n"
    elif member.path == "LICENSE":
        text = HOLDER.sub(rf"\1{PERSON}", text)
    elif member.path == "pyproject.toml":
        text = re.sub(r'(\bname = )"[^"]*"(?=[^\n]*\bemail = |\s*\})', rf'\1"{PERSON}"', text)
    elif member.path == ANSWERS:
        text = re.sub(r"^(author_\w+|repository):.*$", r"\1: ''", text, flags=re.MULTILINE)
    for name in names:
        if name.instead:
            text = name.pattern.sub(name.instead, text)
    return Member(member.path, member.mode, text.encode())


def tracked(root: Path) -> Iterator[Member]:
    """The files that git tracks and that are there; of a link, where it leads to."""
    for line in git(root, "ls-files", "--stage", "-z").split("\0")[:-1]:
        mode, path = line.split()[0], line.partition("\t")[2]
        if mode == "120000" and (root / path).is_symlink():
            yield Member(path, 0o120777, str((root / path).readlink()).encode())
        elif (root / path).is_file():
            yield Member(path, int(mode, 8), (root / path).read_bytes())


def records(runs: Sequence[Path]) -> Iterator[Member]:
    """What the folders of these runs say, without whose machine it was."""
    for folder in runs:
        load_config(folder)  # raises RunError if it is no run
        for name in RECORDS:
            if (folder / name).exists():
                content = (folder / name).read_bytes()
                if name == "code.json":
                    starts = [impersonal(start) for start in json.loads(content)]
                    content = (json.dumps(starts, indent=2) + "\n").encode()
                yield Member(f"runs/{folder.resolve().name}/{name}", 0o100644, content)


def impersonal(start: Mapping[str, Any]) -> dict[str, Any]:
    """A start of a run without its time, its machine and its place in the history of git."""
    gone = {"started": "", "platform": "", "host": "", "commit": None, "diff": "", "untracked": ""}
    command = [Path(word).name if Path(word).is_absolute() else word for word in start["command"]]
    return {**start, **gone, "command": command}


def pack(members: Sequence[Member], path: Path) -> None:
    """Write a zip file that is the same for the same members, whoever writes it and when."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            info = zipfile.ZipInfo(f"anonymous/{member.path}", (1980, 1, 1, 0, 0, 0))
            info.external_attr = member.mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.content)


# What is left


def search(path: Path, names: Sequence[Name]) -> Iterator[str]:
    """Each place in the archive where a name stands, with where it is known from."""
    patterns = [(name, name.pattern) for name in names]
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            place = str(PurePosixPath(info.filename).relative_to("anonymous"))
            member = Member(place, 0, archive.read(info))
            text = member.text
            lines = [(f"{place}:{number}", line) for number, line in enumerate((text or "").splitlines(), 1)]
            if text is None:
                lines = [(f"{place}, which is no text", member.content.decode("latin-1"))]
            for where, line in [(f"the name of {place}", place), *lines]:
                for name, pattern in patterns:
                    if (found := pattern.search(unicodedata.normalize("NFC", line))) and found[0] != name.instead:
                        yield f"{where}: {found[0]} ({name.source})"


# Reading


def answers(root: Path) -> list[tuple[str, str]]:
    return entries(read(root / ANSWERS))


def citation(root: Path) -> list[tuple[str, str]]:
    """What CITATION.cff says about this code and its authors, not about other work that it cites."""
    others = re.compile(r"^(preferred-citation|references):\n(?:[ -].*\n|\n)*", re.MULTILINE)
    return entries(others.sub("", read(root / "CITATION.cff")))


def entries(text: str) -> list[tuple[str, str]]:
    """The keys of a YAML file that have a text on their line, and the text."""
    found = re.findall(r"^[ -]*([\w-]+): *(\S.*)$", text, re.MULTILINE)
    return [(key, value.strip("\"'")) for key, value in found if value.strip("\"'")]


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def git_or_nothing(root: Path, *arguments: str) -> str:
    try:
        return git(root, *arguments)
    except RunError:  # a setting that is not there
        return ""
