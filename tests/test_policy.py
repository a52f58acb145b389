"""An organization's policy: what it decides, what nobody can weaken, and what is wrong in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from workshop import LINES, SETTINGS, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.errors import PolicyError
from labrig.policy import POLICY_FILE, read_policy
from labrig.render import ANSWERS_FILE, Template
from labrig.source import Source

QUESTIONS = """\
name: {type: str, default: demo}
license: {type: str, default: mit, choices: [mit, apache, none]}
tools: {type: str, default: [], multiselect: true, choices: [black, wandb, mlflow]}
ci: {type: str, default: github, choices: [github, gitlab]}
github: {type: str, when: false, default: "{{ '.' if ci == 'github' else '' }}"}
"""
FILES = {
    "LICENSE.jinja": "{{ license }}\n",
    "tools.toml.jinja": "[tools]\nnames = {{ tools | tojson }}\nci = '{{ ci }}'\n",
    "train.py": LINES,
}
POLICY = """\
about = "The standard of acme"
locked = ["license"]

[defaults]
license = "apache"
ci = "gitlab"

[forbidden]
tools = ["wandb"]

[groups.vision]
repositories = ["vision-*"]
defaults = {ci = "github"}
"""


class Organization:
    """A policy's repository beside a workshop."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.folder = workshop.folder / "standard"
        self.folder.mkdir()
        git(self.folder, "init", "--quiet")
        workshop.release("v1", FILES, QUESTIONS)

    def state(self, text: str, files: Mapping[str, str] | None = None) -> str:
        """Commit a state of the policy; returns its hash."""
        put(self.folder, {"policy.toml": text, **(files or {})})
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--message", "State")
        return git(self.folder, "rev-parse", "HEAD")

    def new(self, *words: str, name: str = "demo", preset: str = "", check: bool = True) -> str:
        """Create the repository under the policy, and commit it; returns what stands on stderr."""
        self.workshop.root = self.workshop.folder / name
        self.workshop.root.parent.mkdir(exist_ok=True)
        here = Workshop(self.workshop.folder, self.workshop._capture)
        here.root = self.workshop.folder
        template = str(self.workshop.template)
        done = here.labrig("new", name, "--yes", "--template", template, "--preset", f"{self.folder}{preset}", *words)
        if check:
            assert done.code == 0, done.err
            self.workshop.commit()
        else:
            assert done.code == 2, done.err
        return done.err


@pytest.fixture
def organization(workshop: Workshop) -> Organization:
    return Organization(workshop)


def rules(workshop: Workshop, *words: str) -> list[str]:
    found = workshop.labrig("check", "--json", *words).object
    return [finding["rule"] for finding in found["repositories"][0]["findings"]]


def test_a_new_repository_takes_the_policy_s_answers_and_its_layers(organization: Organization) -> None:
    layer = {
        "template/CODEOWNERS.jinja": "* @acme/{{ license }}\n",
        "template/{{ github }}/only-github.txt": "x\n",
        "template/train.py": "the organization's\n",
    }
    commit = organization.state(POLICY, layer)
    organization.new()
    workshop = organization.workshop
    assert (workshop.record()["license"], workshop.record()["ci"]) == ("apache", "gitlab")
    assert workshop.read("CODEOWNERS") == "* @acme/apache\n"
    assert workshop.read("train.py") == "the organization's\n"
    assert not (workshop.root / "only-github.txt").exists()
    assert f'commit: "{commit}"' in workshop.read(POLICY_FILE)
    assert workshop.labrig("check").code == 0
    organization.new(name="vision-a")
    assert workshop.record()["ci"] == "github"
    assert workshop.read("only-github.txt") == "x\n"


def test_the_levels_win_in_their_order(organization: Organization) -> None:
    organization.state(POLICY, {"cluster.toml": '[answers]\nci = "github"\ntools = ["black"]\n'})
    workshop = organization.workshop
    organization.new("--preset", f"{organization.folder}#cluster")
    assert (workshop.record()["ci"], workshop.record()["tools"]) == ("gitlab", ["black"])  # organization over preset
    organization.new("--ci", "github", name="other")
    assert workshop.record()["ci"] == "github"  # the command line over the organization


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--license", "mit"], "the organization locks it to apache"),
        (["--tools", "black,wandb"], "tools is wandb, which the organization forbids"),
    ],
)
def test_a_new_repository_cannot_weaken_the_policy(words: list[str], message: str, organization: Organization) -> None:
    organization.state(POLICY)
    workshop = organization.workshop
    here = Workshop(workshop.folder, workshop._capture)
    here.root = workshop.folder
    done = here.labrig(
        "new", "demo", "--yes", "--template", str(workshop.template), "--preset", str(organization.folder), *words
    )
    assert done.code in {2, 3}
    assert message in done.err
    assert not (workshop.folder / "demo").exists()


def test_why_names_the_level_that_decided(organization: Organization) -> None:
    organization.state(POLICY, {"cluster.toml": '[answers]\ntools = ["black"]\n', "template/OWNERS.txt": "acme\n"})
    organization.new("--name", "mine")
    workshop = organization.workshop
    assert "license=apache (organization, locked)" in workshop.labrig("why", "LICENSE:1").out
    assert "ci=gitlab (organization)" in workshop.labrig("why", "tools.toml:3").out
    assert "tools=none (default)" in workshop.labrig("why", "tools.toml:2").out
    assert "from the policy" in workshop.labrig("why", "OWNERS.txt").out
    organization.new(name="clustered", preset="#cluster")
    assert "tools=black (preset cluster)" in workshop.labrig("why", "tools.toml:2").out
    workshop.labrig("set", "tools=mlflow", "ci=github")
    workshop.commit()
    assert "tools=mlflow (repository)" in workshop.labrig("why", "tools.toml:2").out


def test_a_repository_cannot_leave_what_is_locked_or_take_what_is_forbidden(organization: Organization) -> None:
    organization.state(POLICY)
    organization.new()
    workshop = organization.workshop
    done = workshop.labrig("set", "license=mit")
    assert (done.code, "locks it to apache" in done.err) == (2, True)
    done = workshop.labrig("set", "tools=wandb", "--yes")
    assert (done.code, "the organization forbids" in done.err) == (3, True)
    assert workshop.status() == []


def test_an_update_follows_the_policy(organization: Organization) -> None:
    organization.state(POLICY, {"template/OWNERS.txt": LINES})
    organization.new()
    workshop = organization.workshop
    workshop.change({"OWNERS.txt": LINES.replace("line 3\n", "line 3, mine\n")})
    new_policy = POLICY.replace('license = "apache"', 'license = "none"')
    organization.state(new_policy, {"template/OWNERS.txt": LINES + "more\n"})
    assert rules(workshop) == ["LR001", "LR003", "LR009"]
    assert workshop.labrig("update", "--yes").code == 0
    workshop.commit()
    assert workshop.record()["license"] == "none"
    assert workshop.read("OWNERS.txt") == LINES.replace("line 3\n", "line 3, mine\n") + "more\n"
    assert workshop.labrig("update", "--yes").err == "Up to date with v1.\n"


def test_a_forbidden_answer_is_never_replaced_but_asked_for(organization: Organization) -> None:
    organization.state(POLICY)
    organization.new("--tools", "mlflow")
    workshop = organization.workshop
    organization.state(POLICY.replace("wandb", "mlflow"))
    done = workshop.labrig("update", "--yes")
    assert done.code == 3
    assert "--set tools=..." in done.err
    assert workshop.labrig("update", "--yes", "--set", "tools=black").code == 0


def test_a_repository_comes_under_a_policy_later_and_check_asks_for_it(organization: Organization) -> None:
    organization.state(POLICY)
    workshop = organization.workshop
    workshop.root = workshop.folder / "demo"
    workshop.generate()
    assert rules(workshop) == []
    assert rules(workshop, "--policy", str(organization.folder)) == ["LR009", "LR009"]  # no policy; another licence
    assert workshop.labrig("update", "--yes", "--policy", str(organization.folder)).code == 0
    workshop.commit()
    assert workshop.record()["license"] == "apache"
    assert rules(workshop, "--policy", str(organization.folder)) == []


def test_a_required_rule_cannot_be_ignored(organization: Organization) -> None:
    organization.state('rules = ["LR003"]\n' + POLICY)
    organization.new()
    workshop = organization.workshop
    workshop.change({"tools.toml": "[tools]\nnames = ['x']\nci = 'gitlab'\n"})
    workshop.change({"tools.toml": "[tools]\nnames = []\nci = 'mine'\n"})
    assert rules(workshop, "--ignore", "LR003") == ["LR003"]


WAIVER = """
[[waivers]]
repository = "demo"
{subject}
owner = "ada@example.org"
reason = "waits for the legal department"
expires = {expires}
"""


def test_a_waiver_holds_until_its_last_day_and_then_names_its_owner(organization: Organization) -> None:
    waivers = WAIVER.format(subject='question = "license"', expires="2999-01-31")
    waivers += WAIVER.format(subject='rule = "LR003"\npath = "tools.toml"', expires="2999-01-31")
    organization.state(POLICY + waivers)
    organization.new("--license", "mit")
    workshop = organization.workshop
    workshop.change({"tools.toml": "[tools]\nnames = []\nci = 'mine'\n"})
    assert rules(workshop) == []
    organization.state(POLICY + waivers.replace("2999", "2020"))
    done = workshop.labrig("check")
    assert done.code == 1
    assert rules(workshop) == ["LR001", "LR003", "LR009", "LR010", "LR010"]
    assert "the waiver of license expired on 2020-01-31; its owner is ada@example.org" in done.out
    done = workshop.labrig("update", "--yes")
    assert (done.code, workshop.record()["license"]) == (0, "apache")
    assert "ada@example.org" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[defaults]\nlicence = 'mit'\n", "Did you mean 'license'?"),
        ("[defaults]\nlicense = 'gpl'\n", "answers license with 'gpl', which is no choice"),
        ("[forbidden]\nlicence = ['mit']\n", "Did you mean 'license'?"),
        ("[forbidden]\nci = ['github', 'gitlab']\n", "forbids every answer to ci"),
        ("[defaults]\nci = 'github'\n[forbidden]\nci = ['github']\n", "contradicts itself about ci"),
        ("locked = ['ci']\n", "locks ci and does not answer it"),
        ("locked = ['ci']\n[defaults]\nci = 'github'\n[groups.a.defaults]\nci = 'gitlab'\n", "contradicts itself"),
        ("rules = ['LR03']\n", "Did you mean 'LR003'?"),
        ("defaultz = 1\n", "Did you mean 'defaults'?"),
        ("[defaults\n", "cannot be read"),
        (WAIVER.format(subject="rule = 'LR003'", expires="''"), "has no expiry"),
        (WAIVER.format(subject="rule = 'LR003'", expires="2027-01-31").replace("owner", "path"), "has no owner"),
        (WAIVER.format(subject="", expires="2027-01-31"), "is malformed"),
    ],
)
def test_what_is_wrong_in_a_policy_is_said_with_its_cause(text: str, message: str, tmp_path: Path) -> None:
    put(tmp_path, {"policy.toml": text, "template/x": "", "copier.yml": SETTINGS + QUESTIONS})
    with pytest.raises(PolicyError, match=re.escape(message)) as failure:
        read_policy(Source(tmp_path, "acme", None, None), "acme").require_valid(Template(tmp_path))
    assert failure.value.cause or failure.value.tip


def test_what_is_wrong_in_a_policy_is_said_by_the_command(organization: Organization) -> None:
    organization.state("[defaults]\nlicence = 'mit'\n")
    said = organization.new(check=False)
    assert re.match(r"error: [^\n]+Did you mean 'license'\?\n  cause: [^\n]+\n  tip: [^\n]+\n$", said), said


def test_a_policy_that_is_not_there_is_one_sentence(organization: Organization, tmp_path: Path) -> None:
    organization.state(POLICY)
    organization.new()
    workshop = organization.workshop
    done = workshop.labrig("update", "--policy", f"file://{tmp_path}/nothing.git")
    assert done.code == 2
    assert "cannot be read" in done.err
    git(organization.folder, "commit", "--quiet", "--amend", "--message", "Another")
    git(organization.folder, "reflog", "expire", "--expire=now", "--all")
    git(organization.folder, "gc", "--quiet", "--prune=now")
    done = workshop.labrig("update", "--yes")
    assert (done.code, "which the policy" in done.err) == (3, True)


def test_a_checkout_of_the_policy_is_the_policy_itself(organization: Organization) -> None:
    organization.state(POLICY, {"template/OWNERS.txt": "acme\n"})
    git(organization.folder, "remote", "add", "origin", "https://github.com/acme/policy")
    organization.new()
    workshop = organization.workshop
    assert 'url: "https://github.com/acme/policy"' in workshop.read(POLICY_FILE)
    workshop.change(
        {POLICY_FILE: workshop.read(POLICY_FILE).replace("https://github.com/acme/policy", "gh:acme/policy")}
    )
    assert rules(workshop, "--policy", str(organization.folder)) == []
    organization.state(POLICY, {"template/OWNERS.txt": "acme, all\n"})
    done = workshop.labrig("update", "--yes", "--policy", str(organization.folder))
    assert (done.code, workshop.read("OWNERS.txt")) == (0, "acme, all\n")
    assert 'url: "gh:acme/policy"' in workshop.read(POLICY_FILE)


def test_a_repository_moves_from_one_policy_to_another(organization: Organization) -> None:
    organization.state(POLICY, {"template/OWNERS.txt": "acme\n"})
    organization.new()
    workshop = organization.workshop
    other = workshop.folder / "other"
    git(workshop.folder, "clone", "--quiet", str(organization.folder), str(other))
    put(other, {"template/OWNERS.txt": "acme, all\n"})
    git(other, "commit", "--quiet", "--all", "--message", "Other")
    assert rules(workshop, "--policy", str(other)) == ["LR009"]
    assert workshop.labrig("update", "--yes", "--policy", str(other)).code == 0
    workshop.commit()
    assert workshop.read("OWNERS.txt") == "acme, all\n"
    assert rules(workshop) == []


def test_plain_copier_leaves_the_policy_s_files_alone(organization: Organization) -> None:
    organization.state(POLICY, {"template/OWNERS.txt": "acme\n"})
    organization.new()
    workshop = organization.workshop
    workshop.release("v2", {"more.txt": "more\n"})
    assert workshop.copier().returncode == 0
    assert workshop.copier_reads("more.txt") == b"more\n"
    assert workshop.copier_reads("OWNERS.txt") == b"acme\n"
    assert POLICY_FILE in git(workshop.root, "ls-files")
    assert ANSWERS_FILE in git(workshop.root, "ls-files")
