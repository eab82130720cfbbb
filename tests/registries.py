"""Real registries for tests: Debian's docker-registry in four flavours, and ours in the same shape.

`docker_registry(base, "tls")` is a context manager; fixtures of the same names live in tests/conftest.py.
Flavours: plain (http), tls, basic (TLS and htpasswd), token (TLS and a token server of ours, `registry.tokens`).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.certificates import Certificates, make_certificates
from tests.token_server import ISSUER, SERVICE, TokenServer, token_server

Flavour = Literal["plain", "tls", "basic", "token"]
FLAVOURS: tuple[Flavour, ...] = ("plain", "tls", "basic", "token")
USER, PASSWORD = "flora", "open sesame: 1"
#: bcrypt of PASSWORD at the lowest cost: docker-registry accepts no other scheme, and Python has no bcrypt of its own
HTPASSWD = f"{USER}:$2b$04$.VG/oCQPJkBWk8ruFNQN/efSEYYj/RGM2UUCoRsjn8nOtiV7RxmYq\n"
_START_SECONDS = 20.0
_ACCESS = re.compile(r'"(\S+) (\S+) HTTP/[\d.]+" (\d{3}) ')


@dataclass(frozen=True)
class Registry:
    """A running registry: where it is, how to be let in, and what it has been asked."""

    kind: Literal["docker-registry", "embedded"]
    flavour: Flavour
    host: str  #: host:port, as written in a reference
    certificates: Certificates | None = None
    tokens: TokenServer | None = None
    storage: Path | None = None
    log_file: Path | None = None
    pid: int | None = None
    server: Any = field(default=None, compare=False)  #: the embedded server's handle

    @property
    def tls(self) -> bool:
        return self.flavour != "plain"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password, or None where anybody may do everything."""
        return (USER, PASSWORD) if self.flavour in ("basic", "token") else None

    def ref(self, repository: str, reference: str = "latest") -> str:
        """``docker://host/repository:tag`` or ``@digest``."""
        return f"docker://{self.host}/{repository}{'@' if ':' in reference else ':'}{reference}"

    def skopeo_flags(self, prefix: str = "") -> list[str]:
        """Flags that let skopeo (and fastcopy) in; `prefix` is "", "src-" or "dest-"."""
        flags = [f"--{prefix}cert-dir={self.certificates.directory}"] if self.certificates else []
        if not self.tls:
            flags.append(f"--{prefix}tls-verify=false")
        if self.credentials:
            flags.append(f"--{prefix}creds={':'.join(self.credentials)}")
        return flags

    def requests(self) -> list[tuple[str, str, int]]:
        """(method, target, status) of every request answered so far, in order of completion."""
        if self.server is not None:
            self.settle()
            return [(record.method, record.target, record.status) for record in list(self.server.log)]
        assert self.log_file is not None
        found = _ACCESS.findall(self.log_file.read_text(errors="replace"))
        return [(method, target, int(status)) for method, target, status in found]

    def settle(self, seconds: float = 2.0) -> None:
        """Wait until the embedded server has logged what it answered: a record follows the answer's last byte."""
        deadline = time.monotonic() + seconds
        while self.server.in_flight and time.monotonic() < deadline:
            time.sleep(0.001)

    def client(self) -> Probe:
        """A small synchronous client that knows this registry's credentials; close it, or use `with`."""
        return Probe(self)


@dataclass(frozen=True)
class Answer:
    """One response with its whole body; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error code of the body."""
        return str(self.json()["errors"][0]["code"])


class Probe:
    """A plain http.client conversation: what tests use to prepare and to look, so that fastcopy never judges itself."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._link: http.client.HTTPConnection | None = None
        self._tokens: dict[tuple[str, ...], str] = {}

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def request(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None, *, auth: bool = True
    ) -> Answer:
        """Send one request and read the whole answer; `target` may be an absolute URL of this registry."""
        split = urllib.parse.urlsplit(target)
        path = f"{split.path}?{split.query}" if split.query else split.path
        sent = {"Host": self.registry.host, **self._authorization(path, auth), **(headers or {})}
        if (body or method in ("PUT", "POST", "PATCH")) and "Transfer-Encoding" not in sent:
            sent.setdefault("Content-Length", str(len(body)))
        try:
            return self._send(method, path, body, sent)
        except (ConnectionError, http.client.HTTPException):  # an idle connection that the server closed
            self.close()
            return self._send(method, path, body, sent)

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        link = self._link = self._link or self._connect()
        link.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            link.putheader(name, value)
        link.endheaders(body or None)
        response = link.getresponse()
        try:
            data, whole = response.read(), True
        except http.client.IncompleteRead as error:  # docker-registry's 416 announces the length of the whole blob
            data, whole = error.partial, False
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, data)
        if response.will_close or not whole:
            self.close()
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        if not self.registry.tls:
            return http.client.HTTPConnection(self.registry.host, timeout=60)
        assert self.registry.certificates is not None
        context = ssl.create_default_context(cafile=self.registry.certificates.ca)
        return http.client.HTTPSConnection(self.registry.host, timeout=60, context=context)

    def _authorization(self, path: str, wanted: bool) -> dict[str, str]:
        if not wanted or self.registry.credentials is None:
            return {}
        if self.registry.flavour == "basic":
            return {"Authorization": f"Basic {_basic(*self.registry.credentials)}"}
        found = re.match(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/", path)
        scopes = [f"repository:{found[1]}:pull,push,delete" if found else "registry:catalog:*"]
        if origin := re.search(r"[?&]from=([^&]+)", path):
            scopes.append(f"repository:{origin[1]}:pull")
        return {"Authorization": f"Bearer {self._token(*scopes)}"}

    def _token(self, *scopes: str) -> str:
        if scopes not in self._tokens:
            realm, service = self._realm()
            query = urllib.parse.urlencode([("service", service), *(("scope", scope) for scope in scopes)])
            assert self.registry.certificates is not None
            assert self.registry.credentials is not None
            context = ssl.create_default_context(cafile=self.registry.certificates.ca)
            request = urllib.request.Request(f"{realm}?{query}")
            request.add_header("Authorization", f"Basic {_basic(*self.registry.credentials)}")
            with urllib.request.urlopen(request, context=context, timeout=30) as response:
                self._tokens[scopes] = json.load(response)["token"]
        return self._tokens[scopes]

    def _realm(self) -> tuple[str, str]:
        challenge = self._send("GET", "/v2/", b"", {"Host": self.registry.host}).headers["www-authenticate"]
        found = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        return found["realm"], found["service"]

    def push_blob(self, repository: str, data: bytes) -> dict[str, Any]:
        """Upload a blob (POST, PUT); returns its descriptor fields ``digest`` and ``size``."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        started = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert started.status == 202, started
        location = started.headers["location"]
        location += f"{'&' if '?' in location else '?'}digest={digest}"
        done = self.request("PUT", location, data, {"Content-Type": "application/octet-stream"})
        assert done.status == 201, done
        return {"digest": digest, "size": len(data)}

    def push_manifest(self, repository: str, reference: str, manifest: dict[str, Any] | bytes, media_type: str) -> str:
        """Put a manifest under a tag (or, with reference "", under its digest); returns the digest."""
        raw = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        target = f"/v2/{repository}/manifests/{reference or digest}"
        done = self.request("PUT", target, raw, {"Content-Type": media_type})
        assert done.status == 201, done
        return digest


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def certificates_in(base: Path) -> Certificates:
    """One CA and leaf per base directory, made on first use."""
    where = base / "certificates"
    if not (where / "server.key").exists():
        return make_certificates(where)
    return Certificates(where / "trusted", where / "trusted" / "ca.crt", where / "server.pem", where / "server.key")


@contextlib.contextmanager
def docker_registry(
    base: Path, flavour: Flavour = "plain", *, program: str = "docker-registry", **extra: Any
) -> Iterator[Registry]:
    """Debian's docker-registry on a free port, deletes enabled; `extra` replaces whole sections of its settings.

    *program*: another build of the same registry, such as version 3.
    """
    base.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        certificates = certificates_in(base) if flavour != "plain" else None
        tokens = None
        if flavour == "token":
            assert certificates is not None
            tokens = stack.enter_context(token_server(certificates, {USER: PASSWORD}))
        storage = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-", dir=base)))
        config = _docker_config(storage, flavour, certificates, tokens) | extra
        log_file = storage / "server.log"
        process = stack.enter_context(_daemon(program, config, storage / "config.json", log_file))
        host = f"127.0.0.1:{_port_of(process, log_file)}"
        yield Registry("docker-registry", flavour, host, certificates, tokens, storage, log_file, process.pid)


@contextlib.contextmanager
def embedded_registry(base: Path, flavour: Flavour = "plain", **settings: Any) -> Iterator[Registry]:
    """Ours, in the same shape; `settings` are fields of ServeConfig (directory, behaviour, middleware, ...)."""
    from fastcopy.serve import Account, Behaviour, ServeConfig, start_in_thread

    certificates = certificates_in(base) if flavour != "plain" else None
    settings.setdefault("listen", "127.0.0.1:0")
    if certificates is not None:
        settings |= {"tls_cert": certificates.cert, "tls_key": certificates.key}
    if flavour in ("basic", "token"):
        settings.setdefault("accounts", (Account(USER, PASSWORD),))
        settings.setdefault("behaviour", Behaviour(auth="token" if flavour == "token" else "basic"))
    with start_in_thread(ServeConfig(**settings)) as started:
        directory = settings.get("directory")
        yield Registry("embedded", flavour, started.server.host, certificates, storage=directory, server=started.server)
    if started.server.bugs:
        raise AssertionError("the embedded registry met a bug of its own") from started.server.bugs[0]


def _docker_config(
    storage: Path, flavour: Flavour, certificates: Certificates | None, tokens: TokenServer | None
) -> dict[str, Any]:
    http_part: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "one process needs no shared secret"}
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(storage / "data")}, "delete": {"enabled": True}},
        "http": http_part,
    }
    if certificates is not None:
        http_part["tls"] = {"certificate": str(certificates.cert), "key": str(certificates.key)}
    if flavour == "basic":
        (storage / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(storage / "htpasswd")}}
    if tokens is not None:
        assert certificates is not None
        bundle = {"rootcertbundle": str(certificates.ca), "realm": tokens.realm, "service": SERVICE, "issuer": ISSUER}
        config["auth"] = {"token": bundle}
    return config


@contextlib.contextmanager
def _daemon(program: str, config: dict[str, Any], path: Path, log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    path.write_text(json.dumps(config))  # JSON is YAML
    with log_file.open("wb") as log:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "OTEL_TRACES_EXPORTER": "none"}
        process = subprocess.Popen(
            [program, "serve", str(path)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _port_of(process: subprocess.Popen[bytes], log_file: Path) -> int:
    """The port it chose, read from its log (asking for port 0 has no race), once it accepts connections."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        text = log_file.read_text(errors="replace")
        if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", text):
            with socket.create_connection(("127.0.0.1", int(found[1])), timeout=5):
                return int(found[1])
        if process.poll() is not None:
            raise RuntimeError(f"docker-registry ended with {process.returncode}: {text[-2000:]}")
        time.sleep(0.02)
    raise RuntimeError(f"docker-registry did not start within {_START_SECONDS:g} s: {log_file.read_text()[-2000:]}")


#: Where tests/install_tools.sh puts what it builds.
BUILT = Path(__file__).parents[1] / ".cache" / "bin"


def missing_programs(names: tuple[str, ...]) -> list[str]:
    """Those of `names` that are neither on PATH nor built by tests/install_tools.sh."""
    return [name for name in names if shutil.which(name) is None and not (BUILT / name).exists()]
