"""A small synchronous HTTP/2 client made with python-h2: the tests' own peer, every frame at their command."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.registries import Registry


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers.get(":status", "0"))


class H2Client:
    """One connection; TLS with ALPN, or prior knowledge on plain ones."""

    def __init__(self, registry: Registry, window: int = 65535) -> None:
        host, _, port = registry.host.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=20)
        if registry.certificates:
            context = ssl.create_default_context(cafile=registry.certificates.ca)
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.authority, self.scheme = registry.host, "https" if registry.tls else "http"
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        codes = h2.settings.SettingCodes
        self.conn.local_settings = h2.settings.Settings(True, {codes.INITIAL_WINDOW_SIZE: window})
        self.conn.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.gone = False  #: GOAWAY, or the end of the connection
        self.flush()

    def __enter__(self) -> H2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        """Send what python-h2 has queued."""
        self.sock.sendall(self.conn.data_to_send())

    def ask(self, method: str, target: str, *fields: tuple[str, str], more: bool = False) -> int:
        """Send a head; the stream's number. `more`: a body follows."""
        number: int = self.conn.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", target), (":scheme", self.scheme), (":authority", self.authority)]
        self.answers[number] = Answer()
        self.conn.send_headers(number, [*pseudo, *fields], end_stream=not more)
        self.flush()
        return number

    def send(self, number: int, data: bytes, *, end: bool = True, pad: int | None = None) -> None:
        """Send a body as the windows allow; stops when the answer came first."""
        while data and not self.answers[number].ended:
            padding = 0 if pad is None else pad + 1
            window = min(self.conn.local_flow_control_window(number), self.conn.max_outbound_frame_size)
            room = min(len(data), window - padding)
            if room > 0:
                self.conn.send_data(number, data[:room], pad_length=pad)
                data = data[room:]
                self.flush()
            else:
                self.pump()
        if end and not self.answers[number].ended:
            self.conn.end_stream(number)
            self.flush()

    def pump(self) -> None:
        """Read once."""
        data = self.sock.recv(1 << 16)
        self.gone = self.gone or not data
        for event in self.conn.receive_data(data):
            self._on(event)
        self.flush()

    def _on(self, event: h2.events.Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", None) or 0, Answer())
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = {str(name): str(value) for name, value in event.headers or []}
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data or b""
            self.conn.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.ended, answer.reset = True, int(event.error_code or 0)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.gone = True

    def answer(self, number: int) -> Answer:
        """The whole answer of a stream."""
        while not (self.answers[number].ended or self.gone):
            self.pump()
        return self.answers[number]
