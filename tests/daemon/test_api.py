"""The Docker API over TCP and TLS, and daemons that answer what nobody hopes for: scripted, no program needed."""

from __future__ import annotations

import io
import ssl
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fastcopy.errors import BadConfig, BadName, FastcopyError, LinkError
from fastcopy.options import HostOptions
from fastcopy.transports._daemon_api import Daemon
from tests.certificates import Certificates, make_certificates
from tests.places import made


class FakeDaemon(ThreadingHTTPServer):
    """Saves one archive, keeps what is loaded, answers as told."""

    daemon_threads = True
    saved: bytes = b""
    loaded: list[bytes]
    load_answer: tuple[int, bytes] = (200, b'{"stream":"Loaded image"}\n')
    cut: bool = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Peers that hang up are part of these tests."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeDaemon
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = self.server.saved
        for at in range(0, len(data), 65536):
            piece = data[at : at + 65536]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if self.server.cut:
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        self.server.loaded.append(self.rfile.read(int(self.headers["Content-Length"])))
        status, body = self.server.load_answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def daemon(tls: Certificates | None = None) -> Iterator[tuple[FakeDaemon, str]]:
    """A running fake, and its host as --daemon-host wants it."""
    server = FakeDaemon(("127.0.0.1", 0), _Handler)
    server.loaded = []
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca)
        context.load_cert_chain(tls.cert, tls.key)
        context.verify_mode = ssl.CERT_NONE
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"{'tcp' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def archive(it: made.Image, base: Path) -> bytes:
    """What a daemon saves of an image."""
    return made.tar(base / "saved.tar", made.saved([(["it:1"], it)])).read_bytes()


def test_an_image_crosses_over_plain_tcp(tmp_path: Path) -> None:
    """`http://HOST:PORT`: what one daemon saves another one loads, layers and config unchanged."""
    it = made.image()
    with daemon() as (server, host):
        server.saved = archive(it, tmp_path)
        made.copy("docker-daemon:it:1", "docker-daemon:it:2", hosts=HostOptions(daemon_host=host))
        (loaded,) = server.loaded
    with tarfile.open(fileobj=io.BytesIO(loaded)) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    assert {made.digest_of(data) for name, data in files.items() if name != "manifest.json"} == {
        made.digest_of(data) for data in (it.config, *it.tars)
    }
    assert b'"RepoTags":["docker.io/library/it:2"]' in files["manifest.json"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificates, Path]:
    """A server's certificate, and a directory of the three files that docker's clients have."""
    base = tmp_path_factory.mktemp("tls")
    found = make_certificates(base)
    directory = base / "docker"
    directory.mkdir()
    for source, name in ((found.ca, "ca.pem"), (found.cert, "cert.pem"), (found.key, "key.pem")):
        (directory / name).write_bytes(source.read_bytes())
    return found, directory


def test_tcp_means_tls_with_the_files_of_cert_dir(certificates: tuple[Certificates, Path], tmp_path: Path) -> None:
    """ca.pem, cert.pem and key.pem are what makes `tcp://` trusted, for reading and for loading."""
    found, directory = certificates
    with daemon(found) as (server, host):
        server.saved = archive(made.image(), tmp_path)
        options = HostOptions(daemon_host=host, cert_dir=directory)
        made.copy("docker-daemon:it:1", "docker-daemon:it:2", hosts=options)
        assert len(server.loaded) == 1


def test_an_unknown_authority_is_not_trusted(certificates: tuple[Certificates, Path], tmp_path: Path) -> None:
    """Without cert_dir the system's authorities decide."""
    with daemon(certificates[0]) as (server, host):
        server.saved = archive(made.image(), tmp_path)
        with pytest.raises(LinkError, match="certificate"):
            made.copy("docker-daemon:it:1", f"dir:{tmp_path}/d", hosts=HostOptions(daemon_host=host))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, b'{"message":"disk is\\nfull"}'), "Error response from daemon: disk is full"),
        ((500, b""), "Error response from daemon: status 500"),
        ((200, b'{"stream":"a"}\n{"errorDetail":{"message":"no space"},"error":"no space"}\n'), '"no space"'),
        ((200, b"<html>"), "it is not JSON"),
    ],
)
def test_a_load_that_fails_is_an_error_whatever_its_status(
    answer: tuple[int, bytes], message: str, tmp_path: Path
) -> None:
    """A daemon says 200 before it begins; what it says later counts."""
    made.layout(tmp_path / "l", {"v1": made.image()})
    with daemon() as (server, host):
        server.load_answer = answer
        with pytest.raises(FastcopyError) as caught:
            made.copy(f"oci:{tmp_path}/l:v1", "docker-daemon:it:1", hosts=HostOptions(daemon_host=host))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.side == "destination"


def test_an_archive_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    """A connection that ends in mid-archive never is an image."""
    with daemon() as (server, host):
        server.saved, server.cut = archive(made.image(), tmp_path), True
        with pytest.raises(FastcopyError):
            made.copy("docker-daemon:it:1", f"dir:{tmp_path}/d", hosts=HostOptions(daemon_host=host))


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    """A web page with status 200 is damage, not an image."""
    with daemon() as (server, host):
        server.saved = b"<html>" * 200
        with pytest.raises(FastcopyError, match="invalid tar header"):
            made.copy("docker-daemon:it:1", f"dir:{tmp_path}/d", hosts=HostOptions(daemon_host=host))


@pytest.mark.parametrize("host", ["unix://", "nothing", "tcp://", "tcp://host", "http://[::1"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    """docker's words."""
    with pytest.raises(BadName, match="unable to parse docker host"):
        Daemon.at(host, None, verify=True)


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    """The directory and the files that it should have."""
    with pytest.raises(BadConfig, match=r"cert\.pem"):
        Daemon.at("tcp://127.0.0.1:1", tmp_path, verify=True)
