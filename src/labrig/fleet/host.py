"""GitHub and GitLab: which repositories an owner has, requests, and CI results, within the limits of the host."""

from __future__ import annotations

import base64
import email.utils
import json
import os
import random
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ..errors import LabrigError
from .inventory import Member

TRIES = 6
LONGEST_WAIT_SECONDS = 3600.0  # a limit that lasts longer ends the run, which can be taken up again
TIMEOUT_SECONDS = 30.0


class HostError(LabrigError):
    """The host refused a request, or could not be reached."""

    kind = "host"
    status = 0


class TokenError(HostError):
    """There is no token, or it may not do what is asked."""

    kind = "token"


@dataclass(frozen=True)
class Opened:
    """A pull or merge request."""

    number: int
    url: str
    state: str  # open, merged or closed


class _SameHost(urllib.request.HTTPRedirectHandler):
    """A redirection within the host is followed when something is read; a token goes to no other one."""

    def redirect_request(  # noqa: PLR0917 - as urllib has it
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).netloc != urlsplit(req.full_url).netloc or req.get_method() != "GET":
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SameHost)


@dataclass
class Client:
    """One queue of requests to one host: nothing is sent beside something else, and writes keep a distance."""

    base: str
    headers: Mapping[str, str]
    scopes: str  # that are needed, for messages
    spacing_seconds: float = 1.0  # between writes
    sleep: Any = time.sleep
    _last_write: float = field(default=-1e9)
    _queue: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str, **query: object) -> Any:
        """What a path holds."""
        return self._send("GET", self._address(path, query), None)[0]

    def pages(self, path: str, **query: object) -> Iterator[Any]:
        """The items of all pages of a list."""
        address: str | None = self._address(path, {"per_page": 100, **query})
        while address:
            found, headers = self._send("GET", address, None)
            yield from found
            following = re.search(r'<([^>]+)>; rel="next"', headers.get("Link") or "")
            address = following[1] if following else None

    def write(self, method: str, path: str, content: Mapping[str, object]) -> Any:
        """Change something. Only what was certainly not done is tried again; else the caller looks first."""
        return self._send(method, self._address(path, {}), json.dumps(content).encode())[0]

    def _address(self, path: str, query: Mapping[str, object]) -> str:
        return f"{self.base}/{path}" + (f"?{urlencode(query)}" if query else "")

    def _send(self, method: str, address: str, content: bytes | None) -> tuple[Any, Message]:
        with self._queue:
            for attempt in range(TRIES):
                if content is not None:
                    self.sleep(max(0.0, self._last_write + self.spacing_seconds - time.monotonic()))
                    self._last_write = time.monotonic()
                request = urllib.request.Request(address, content, {**self.headers}, method=method)  # noqa: S310
                if content is not None:
                    request.add_header("Content-Type", "application/json")
                try:
                    with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
                        return json.loads(answer.read() or b"null"), answer.headers
                except urllib.error.HTTPError as error:
                    body = error.read().decode(errors="replace")
                    limited = _limit_seconds(error.code, error.headers, body)
                    if limited is None and (error.code < 500 or content is not None):
                        raise self._refusal(method, address, error.code, body) from None
                    failure = self._refusal(method, address, error.code, body)
                    wait = limited if limited is not None else _backoff_seconds(attempt)
                except (OSError, ValueError) as error:  # no network, a time-out, or an answer that breaks off
                    reason = getattr(error, "reason", error)
                    failure = HostError(
                        f"{urlsplit(self.base).netloc} does not answer",
                        cause="it took too long" if isinstance(reason, socket.timeout | TimeoutError) else str(reason),
                        tip="run the same command again: what is done is not done twice",
                    )
                    if content is not None:
                        raise failure from None
                    wait = _backoff_seconds(attempt)
                if wait > LONGEST_WAIT_SECONDS or attempt == TRIES - 1:
                    raise failure
                self.sleep(wait)
            raise failure

    def _refusal(self, method: str, address: str, status: int, body: str) -> HostError:
        path = urlsplit(address).path.removeprefix(urlsplit(self.base).path)
        host = urlsplit(self.base).netloc
        said = _said(body)
        if status == 401:
            error: HostError = TokenError(f"{host} does not take the token", cause=said, tip=f"it needs: {self.scopes}")
        elif status == 403:
            error = TokenError(
                f"the token may not {'read' if method == 'GET' else 'write'} {path} on {host}",
                cause=said,
                tip=f"it needs: {self.scopes}",
            )
        elif status == 404:
            tip = f"see whether the name is right; for what is private the token needs: {self.scopes}"
            error = HostError(f"{host} has no {path}, or does not show it", cause=said, tip=tip)
        elif 300 <= status < 400:
            tip = "take its new name: for gh:OWNER and gl:GROUP under another --campaign, else change the list"
            error = HostError(f"{path} on {host} has moved", cause=said, tip=tip)
        else:
            error = HostError(f"{host} answers {status} to {method} {path}", cause=said)
        error.status = status
        return error


def _limit_seconds(status: int, headers: Message, body: str) -> float | None:
    """How long the host asks to wait; None when it is no question of time."""
    if status not in {403, 429, 503}:
        return None
    if after := headers.get("Retry-After"):
        if after.isdigit():
            return float(after) + random.random()  # noqa: S311
        date = email.utils.parsedate_to_datetime(after)
        return max(0.0, date.timestamp() - time.time()) + random.random()  # noqa: S311
    for remaining, reset in (
        ("X-RateLimit-Remaining", "X-RateLimit-Reset"),
        ("RateLimit-Remaining", "RateLimit-Reset"),
    ):
        if headers.get(remaining) == "0" and headers.get(reset):
            return max(0.0, float(headers[reset]) - time.time()) + 1 + random.random()  # noqa: S311
    if status == 429 or "secondary rate limit" in body:
        return 60.0 + random.random()  # noqa: S311 - what GitHub asks for where it says nothing else
    return None


def _backoff_seconds(attempt: int) -> float:
    return min(60.0, 2.0**attempt) * (0.5 + random.random())  # noqa: S311


def _said(body: str) -> str | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    message = content.get("message") or content.get("error") or content.get("error_description")
    details = [
        str(each.get("message") or each.get("code")) for each in content.get("errors") or [] if isinstance(each, dict)
    ]
    return "; ".join(filter(None, [str(message) if message else "", *details])) or None


class Host(ABC):
    """What is asked of a host."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @abstractmethod
    def members(self, owner: str) -> Iterator[Member]:
        """The repositories of an organization, a group or a user."""

    @abstractmethod
    def find(self, member: Member, branch: str) -> Opened | None:
        """The newest request of a branch, whatever became of it."""

    @abstractmethod
    def create(self, member: Member, branch: str, base: str, title: str, text: str, *, draft: bool) -> Opened:
        """Open a request."""

    @abstractmethod
    def close(self, member: Member, number: int) -> None:
        """Close a request without merging it."""

    @abstractmethod
    def results(self, member: Member, commit: str) -> dict[str, str]:
        """The CI results of a commit by their names: passed, failed or running."""

    def ensure(self, member: Member, branch: str, base: str, title: str, text: str, *, draft: bool = False) -> Opened:
        """The one request of a branch: the one that is there, or a new one, however often this is called."""
        for attempt in range(TRIES):
            found = self.find(member, branch)
            if found is not None:
                return found
            try:
                return self.create(member, branch, base, title, text, draft=draft)
            except HostError as error:
                # Without an answer nobody knows whether it was opened; and somebody may have been faster.
                found = self.find(member, branch)
                if found is not None:
                    return found
                if attempt == TRIES - 1 or 0 < error.status < 500:
                    raise
                self.client.sleep(_backoff_seconds(attempt))
        raise HostError(f"no request could be opened for {member.name}")


class GitHub(Host):
    """github.com, or a GitHub Enterprise Server."""

    def members(self, owner: str) -> Iterator[Member]:
        """Of an organization, else of a user."""
        try:
            found = list(self.client.pages(f"orgs/{quote(owner)}/repos", type="all"))
        except HostError as error:
            if error.status != 404:
                raise
            found = list(self.client.pages(f"users/{quote(owner)}/repos", type="owner"))
        for each in found:
            yield Member(
                each["full_name"],
                each["clone_url"],
                "github",
                tuple(each.get("topics") or ()),
                bool(each.get("archived")),
                each.get("default_branch") or "",
            )

    def find(self, member: Member, branch: str) -> Opened | None:
        """By the branch it comes from."""
        owner = member.name.partition("/")[0]
        found = self.client.get(f"repos/{member.name}/pulls", head=f"{owner}:{branch}", state="all", per_page=100)
        return self._opened(found[0]) if found else None

    def create(self, member: Member, branch: str, base: str, title: str, text: str, *, draft: bool) -> Opened:
        """A pull request."""
        content = {"title": title, "head": branch, "base": base, "body": text, "draft": draft}
        return self._opened(self.client.write("POST", f"repos/{member.name}/pulls", content))

    def close(self, member: Member, number: int) -> None:
        """The branch stays."""
        self.client.write("PATCH", f"repos/{member.name}/pulls/{number}", {"state": "closed"})

    def results(self, member: Member, commit: str) -> dict[str, str]:
        """Check runs, and statuses of services that still set those."""
        found: dict[str, str] = {}
        runs = self.client.get(f"repos/{member.name}/commits/{commit}/check-runs", per_page=100)
        for run in runs["check_runs"]:
            if run["status"] != "completed":
                found[run["name"]] = "running"
            else:
                found[run["name"]] = "passed" if run["conclusion"] in {"success", "neutral", "skipped"} else "failed"
        words = {"success": "passed", "pending": "running"}
        for status in self.client.get(f"repos/{member.name}/commits/{commit}/status", per_page=100)["statuses"]:
            found[status["context"]] = words.get(status["state"], "failed")
        return found

    def _opened(self, found: Mapping[str, Any]) -> Opened:
        state = "merged" if found.get("merged_at") else found["state"]
        return Opened(found["number"], found["html_url"], state)


class GitLab(Host):
    """gitlab.com, or an installation of one's own."""

    def members(self, owner: str) -> Iterator[Member]:
        """Of a group with its subgroups, else of a user."""
        try:
            found = list(self.client.pages(f"groups/{quote(owner, safe='')}/projects", include_subgroups="true"))
        except HostError as error:
            if error.status != 404:
                raise
            found = list(self.client.pages(f"users/{quote(owner, safe='')}/projects"))
        for each in found:
            yield Member(
                each["path_with_namespace"],
                each["http_url_to_repo"],
                "gitlab",
                tuple(each.get("topics") or ()),
                bool(each.get("archived")),
                each.get("default_branch") or "",
            )

    def find(self, member: Member, branch: str) -> Opened | None:
        """By the branch it comes from."""
        found = self.client.get(f"{self._project(member)}/merge_requests", source_branch=branch, state="all")
        return self._opened(found[0]) if found else None

    def create(self, member: Member, branch: str, base: str, title: str, text: str, *, draft: bool) -> Opened:
        """A merge request."""
        content = {
            "source_branch": branch,
            "target_branch": base,
            "title": f"Draft: {title}" if draft else title,
            "description": text,
            "remove_source_branch": True,
        }
        return self._opened(self.client.write("POST", f"{self._project(member)}/merge_requests", content))

    def close(self, member: Member, number: int) -> None:
        """The branch stays."""
        self.client.write("PUT", f"{self._project(member)}/merge_requests/{number}", {"state_event": "close"})

    def results(self, member: Member, commit: str) -> dict[str, str]:
        """The jobs of the newest pipelines, and statuses of other services."""
        words = {"success": "passed", "skipped": "passed", "failed": "failed", "canceled": "failed"}
        path = f"{self._project(member)}/repository/commits/{commit}/statuses"
        return {
            each["name"]: "passed" if each.get("allow_failure") else words.get(each["status"], "running")
            for each in self.client.get(path, per_page=100)
            if each["status"] != "manual"
        }

    def _project(self, member: Member) -> str:
        return f"projects/{quote(member.name, safe='')}"

    def _opened(self, found: Mapping[str, Any]) -> Opened:
        state = "open" if found["state"] in {"opened", "locked"} else found["state"]
        return Opened(found["iid"], found["web_url"], state)


@dataclass(frozen=True)
class Place:
    """Where a host is, and how its token is found."""

    server: str
    api: str
    variables: tuple[str, ...]
    command: tuple[str, ...]  # of the host's own command line, which prints the token
    user: str  # that git names with a token
    scopes: str


def place_of(name: str) -> Place:
    """The addresses, which the variables of the hosts' own CI may change."""
    if name == "github":
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com").rstrip("/")
        api = os.environ.get("GITHUB_API_URL", "https://api.github.com").rstrip("/")
        scopes = (
            "of a fine-grained token, contents, pull requests and workflows: write; checks and commit statuses: read"
        )
        return Place(server, api, ("GH_TOKEN", "GITHUB_TOKEN"), ("gh", "auth", "token"), "x-access-token", scopes)
    server = os.environ.get("CI_SERVER_URL", "https://gitlab.com").rstrip("/")
    api = os.environ.get("CI_API_V4_URL", f"{server}/api/v4").rstrip("/")
    host = urlsplit(server).netloc
    command = ("glab", "config", "get", "token", "--host", host)
    return Place(server, api, ("GITLAB_TOKEN",), command, "oauth2", "the scope api, and the role Developer")


def find_token(name: str) -> str | None:
    """From the environment, else from the host's own command line."""
    place = place_of(name)
    for variable in place.variables:
        if token := os.environ.get(variable):
            return token
    return _said_by(place.command)


@lru_cache
def _said_by(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def open_host(name: str, *, spacing_seconds: float = 1.0) -> Host:
    """The host, with its token. TokenError when there is none."""
    place = place_of(name)
    token = find_token(name)
    if token is None:
        raise TokenError(
            f"there is no token for {urlsplit(place.server).netloc}",
            cause=f"{' and '.join(place.variables)} are not set, and `{' '.join(place.command[:2])}` gives none",
            tip=f"export {place.variables[0]}=...; it needs: {place.scopes}",
        )
    if name == "github":
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        headers |= {"Authorization": f"Bearer {token}", "User-Agent": "labrig"}
        return GitHub(Client(place.api, headers, place.scopes, spacing_seconds))
    headers = {"PRIVATE-TOKEN": token, "User-Agent": "labrig"}
    return GitLab(Client(place.api, headers, place.scopes, spacing_seconds))


def credentials(url: str) -> dict[str, str]:
    """Variables with which git can reach a repository at a host; the token stands on no command line."""
    for name in ("github", "gitlab"):
        place = place_of(name)
        if url.startswith(f"{place.server}/"):
            token = find_token(name)
            if token is None:
                return {}
            count = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
            secret = base64.b64encode(f"{place.user}:{token}".encode()).decode()
            return {
                "GIT_CONFIG_COUNT": str(count + 1),
                f"GIT_CONFIG_KEY_{count}": f"http.{place.server}/.extraHeader",
                f"GIT_CONFIG_VALUE_{count}": f"Authorization: Basic {secret}",
            }
    return {}
