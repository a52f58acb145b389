"""A loopback proxy that answers for some HTTPS hosts from folders and tunnels every other host untouched.

A generated repository names https://download.pytorch.org and conda-forge. On a machine that cannot reach them, the
package managers are pointed at this proxy by the environment variables that each of them already reads, so manifests
and locks keep their true URLs and the tools run unmodified.
"""

import base64
import http.client
import os
import selectors
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

IDLE_SECONDS = 300
CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE",  # uv, rattler, pixi, Python's own ssl
    "REQUESTS_CA_BUNDLE",  # poetry, conda, mamba
    "CURL_CA_BUNDLE",  # micromamba, git
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
)


@dataclass(frozen=True)
class StandIn:
    """A running proxy: what a process must have in its environment, and what it asked the stood-in hosts."""

    environment: Mapping[str, str]
    requests: list[str]


@contextmanager
def stand_in(folders: Mapping[str, Path]) -> Iterator[StandIn]:
    """Answers for each host of `folders` from its folder until the context ends."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*folders).configure_cert(tls)
    with TemporaryDirectory(prefix="stand-in-") as folder, ProxyServer(folders, tls) as server:
        bundle = Path(folder) / "authorities.pem"
        bundle.write_bytes(own_authorities() + authority.cert_pem.bytes())
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield StandIn(environment(server.server_port, bundle), server.requests)
        finally:
            server.shutdown()
            thread.join()


def environment(port: int, bundle: Path) -> dict[str, str]:
    proxy = f"http://127.0.0.1:{port}"
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1,localhost"]))
    variables = {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": direct, "no_proxy": direct}
    return variables | dict.fromkeys(CERTIFICATE_VARIABLES, str(bundle))


def own_authorities() -> bytes:
    """The certificate authorities that this machine trusts already: tunnelled hosts are still verified against them."""
    paths = ssl.get_default_verify_paths()
    candidates = [*map(os.environ.get, CERTIFICATE_VARIABLES), paths.cafile, paths.openssl_cafile]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return Path(candidate).read_bytes() + b"\n"
    raise FileNotFoundError("no bundle of certificate authorities on this machine: set SSL_CERT_FILE to one")


class ProxyServer(ThreadingHTTPServer):
    """The listening socket, on a free port of the loopback interface."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folders: Mapping[str, Path], tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Proxy)
        self.folders = folders
        self.tls = tls
        self.own_proxies = urllib.request.getproxies()  # now, before a process names this proxy in its environment
        self.requests: list[str] = []


class Proxy(BaseHTTPRequestHandler):
    """Answers CONNECT: from a folder for a stood-in host, by a tunnel for any other."""

    server: ProxyServer

    def do_CONNECT(self) -> None:
        host, port = self.path.rsplit(":", 1)
        if host in self.server.folders:
            self.accept()
            self.serve(host)
            return
        try:
            upstream = connect(host, int(port), self.server.own_proxies)
        except OSError as error:
            self.send_error(502, explain=f"{host}: {error}")
            return
        self.accept()
        with upstream:
            tunnel(self.connection, upstream)

    def accept(self) -> None:
        self.send_response_only(200)
        self.end_headers()
        self.close_connection = True

    def serve(self, host: str) -> None:
        try:
            with self.server.tls.wrap_socket(self.connection, server_side=True) as session:
                Folder(session, self.client_address, self.server, directory=str(self.server.folders[host]))
        except (ssl.SSLError, ConnectionError) as error:  # a client without our authority; it reports the reason itself
            self.server.requests.append(f"{host}: {error}")


class Folder(SimpleHTTPRequestHandler):
    """Serves the files of one stood-in host inside the TLS session, over a connection that stays open."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: ProxyServer

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # ask again: the folder is built anew when its script changes
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server names it so)
        self.server.requests.append(format % args)


def connect(host: str, port: int, own_proxies: Mapping[str, str]) -> socket.socket:
    """Opens a connection to a host that is not stood in, through this machine's own proxy where it has one."""
    own = own_proxies.get("https")
    if own is None or urllib.request.proxy_bypass_environment(host, own_proxies):  # type: ignore[attr-defined]
        return socket.create_connection((host, port), timeout=60)
    url = urllib.parse.urlsplit(own)
    headers = {}
    if url.username:
        secret = f"{urllib.parse.unquote(url.username)}:{urllib.parse.unquote(url.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    connection.set_tunnel(host, port, headers)
    connection.connect()
    return connection.sock


def tunnel(client: socket.socket, upstream: socket.socket) -> None:
    """Copies bytes both ways until either side hangs up or nothing was said for a while."""
    other = {client: upstream, upstream: client}
    with selectors.DefaultSelector() as selector:
        for end in other:
            selector.register(end, selectors.EVENT_READ)
        while ready := selector.select(IDLE_SECONDS):
            for key, _ in ready:
                source = client if key.fileobj is client else upstream
                try:
                    data = source.recv(1 << 16)
                    other[source].sendall(data)
                except ConnectionError:  # hung up without a word, as clients do once they have what they wanted
                    return
                if not data:
                    return
