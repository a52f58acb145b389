"""A host of code on the loopback interface: real git over HTTP, and as much of GitHub's and GitLab's API as is used.

Every request is kept, to be held against the published description; faults can be planted.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

TOKEN = "a-token-that-nobody-may-see"  # noqa: S105


@dataclass
class Fault:
    """What goes wrong with the next requests of a kind."""

    method: str
    path: str  # a regular expression
    status: int  # 0: the connection breaks off
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    done: bool = False  # the request is carried out all the same, and only the answer is lost


@dataclass
class Asked:
    """One request to the API."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None
    time: float


class CodeHost:
    """Repositories in `root`/OWNER/NAME.git, their requests, and their CI."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.pulls: dict[str, list[dict[str, Any]]] = {}
        self.archived: set[str] = set()
        self.topics: dict[str, list[str]] = {}
        self.ci: Callable[[str, str], dict[str, str]] = lambda *_: {}  # of a repository's name and a commit
        self.lock = threading.Lock()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words: object) -> None:
                del words

            def answer(self) -> None:
                host.handle(self)

            do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815 - the names of http.server

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def variables(self) -> dict[str, str]:
        """What leads labrig here, as in the hosts' own CI."""
        return {
            "GITHUB_SERVER_URL": self.url,
            "GITHUB_API_URL": f"{self.url}/api/v3",
            "GH_TOKEN": TOKEN,
            "CI_SERVER_URL": self.url,
            "CI_API_V4_URL": f"{self.url}/api/v4",
            "GITLAB_TOKEN": TOKEN,
        }

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.headers.get("Transfer-Encoding") == "chunked":
            body = _chunks(request)
        fault = self._fault(request.command or "", parts.path)
        if fault is not None and not fault.done:
            self._fail(request, fault)
            return
        if ".git/" in parts.path and not parts.path.startswith("/api/"):
            answer = self._git(request, parts.path, parts.query, body)
        else:
            answer = self._api(request, parts.path, dict(parse_qsl(parts.query)), body)
        if fault is not None:
            self._fail(request, fault)
            return
        status, headers, content = answer
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def _fail(self, request: BaseHTTPRequestHandler, fault: Fault) -> None:
        if not fault.status:
            request.close_connection = True
            request.connection.close()
            return
        content = json.dumps({"message": "planted", "errors": [{"code": "custom", "message": "a fault"}]}).encode()
        request.send_response(fault.status)
        for name, value in {"Content-Length": str(len(content)), **fault.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    def _git(
        self, request: BaseHTTPRequestHandler, path: str, query: str, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """`git http-backend`, as behind any web server; pushing needs the token."""
        secret = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        known = request.headers.get("Authorization") == f"Basic {secret}"
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(self.root),
            "PATH_INFO": unquote(path),
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command or "",
            "CONTENT_TYPE": request.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol") or "",
            **({"REMOTE_USER": "labrig"} if known else {}),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(headers.pop("Status", "200").split()[0]), headers, content

    # The API

    def _api(
        self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        content = json.loads(body) if body else None
        with self.lock:
            self.asked.append(Asked(request.command or "", path, query, content, time.monotonic()))
            given = request.headers.get("Authorization") or request.headers.get("PRIVATE-TOKEN") or ""
            if given.removeprefix("Bearer ") != TOKEN:
                return 401, {}, json.dumps({"message": "Bad credentials"}).encode()
            method = self._github if path.startswith("/api/v3/") else self._gitlab
            status, found, headers = method(request.command or "", path[8:], query, content or {})
        return status, {"Content-Type": "application/json", **headers}, json.dumps(found).encode()

    def names(self, owner: str) -> list[str]:
        return sorted(f"{owner}/{path.name.removesuffix('.git')}" for path in (self.root / owner).glob("*.git"))

    def _page(self, items: list[Any], path: str, query: dict[str, str]) -> tuple[int, list[Any], dict[str, str]]:
        """Two items a page, so that a fleet has several."""
        page = int(query.get("page", "1"))
        size = min(2, int(query.get("per_page", "30")))
        headers = {}
        if page * size < len(items):
            headers["Link"] = f'<{self.url}{path}?per_page=100&page={page + 1}>; rel="next"'
        return 200, items[(page - 1) * size : page * size], headers

    def _github(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any, dict[str, str]]:
        if found := re.fullmatch(r"(orgs|users)/([^/]+)/repos", path):
            names = self.names(found[2])
            if not names or (found[1] == "orgs" and found[2] == "ada"):
                return 404, {"message": "Not Found"}, {}
            return self._page([self._repository(name) for name in names], f"/api/v3/{path}", query)
        if found := re.fullmatch(r"repos/([^/]+/[^/]+)/pulls(?:/(\d+))?", path):
            return self._pulls(method, found[1], found[2], query, body)
        if found := re.fullmatch(r"repos/([^/]+/[^/]+)/commits/([0-9a-f]+)/(check-runs|status)", path):
            if found[3] == "status":
                return 200, {"state": "pending", "statuses": []}, {}
            runs = [
                {
                    "name": name,
                    "status": "in_progress" if result == "running" else "completed",
                    "conclusion": {"passed": "success", "failed": "failure"}.get(result),
                }
                for name, result in self.ci(found[1], found[2]).items()
            ]
            return 200, {"total_count": len(runs), "check_runs": runs}, {}
        return 404, {"message": "Not Found"}, {}

    def _repository(self, name: str) -> dict[str, Any]:
        return {
            "full_name": name,
            "clone_url": f"{self.url}/{name}.git",
            "archived": name in self.archived,
            "topics": self.topics.get(name, []),
            "default_branch": "main",
        }

    def _pulls(
        self, method: str, name: str, number: str | None, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any, dict[str, str]]:
        pulls = self.pulls.setdefault(name, [])
        if method == "GET":
            branch = query["head"].partition(":")[2]
            return 200, [pull for pull in reversed(pulls) if pull["head"] == branch], {}
        if method == "PATCH":
            pull = pulls[int(number or 0) - 1]
            pull["state"] = body["state"]
            return 200, pull, {}
        there = subprocess.run(
            ["git", "-C", self.root / f"{name}.git", "rev-parse", "--verify", "--quiet", f"refs/heads/{body['head']}"],
            check=False,
            capture_output=True,
        )
        if there.returncode or any(pull["head"] == body["head"] and pull["state"] == "open" for pull in pulls):
            return 422, {"message": "Validation Failed", "errors": [{"message": "A pull request already exists"}]}, {}
        pulls.append(
            {
                "number": len(pulls) + 1,
                "html_url": f"{self.url}/{name}/pull/{len(pulls) + 1}",
                "state": "open",
                "merged_at": None,
                **body,
            }
        )
        return 201, pulls[-1], {}

    def _gitlab(  # noqa: PLR0911 - one for each path
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any, dict[str, str]]:
        if found := re.fullmatch(r"(groups|users)/([^/]+)/projects", path):
            if found[1] == "users":
                return 404, {"message": "404 Not Found"}, {}
            projects = [
                {
                    "path_with_namespace": name,
                    "http_url_to_repo": f"{self.url}/{name}.git",
                    "archived": name in self.archived,
                    "topics": self.topics.get(name, []),
                    "default_branch": "main",
                }
                for name in self.names(unquote(found[2]))
            ]
            return self._page(projects, f"/api/v4/{path}", query)
        if found := re.fullmatch(r"projects/([^/]+)/merge_requests(?:/(\d+))?", path):
            merges = self.pulls.setdefault(unquote(found[1]), [])
            if method == "GET":
                return 200, [each for each in reversed(merges) if each["source_branch"] == query["source_branch"]], {}
            if method == "PUT":
                merges[int(found[2]) - 1]["state"] = "closed"
                return 200, merges[int(found[2]) - 1], {}
            number = len(merges) + 1
            merges.append({"iid": number, "web_url": f"{self.url}/-/{number}", "state": "opened", **body})
            return 201, merges[-1], {}
        if found := re.fullmatch(r"projects/([^/]+)/repository/commits/([0-9a-f]+)/statuses", path):
            words = {"passed": "success", "failed": "failed", "running": "running"}
            results = self.ci(unquote(found[1]), found[2])
            return (
                200,
                [{"name": name, "status": words[result], "allow_failure": False} for name, result in results.items()],
                {},
            )
        return 404, {"message": "404 Not Found"}, {}


def _chunks(request: BaseHTTPRequestHandler) -> bytes:
    body = b""
    while size := int(request.rfile.readline().strip() or b"0", 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


@contextmanager
def code_host(root: Path) -> Iterator[CodeHost]:
    """Serve what lies in `root`."""
    host = CodeHost(root)
    thread = threading.Thread(target=host.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
        thread.join()
