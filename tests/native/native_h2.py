"""An HTTP/2 peer made of python-h2, and a client whose one stream is lent to the pump."""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

REQUEST = [(":method", "PUT"), (":path", "/"), (":scheme", "https"), (":authority", "peer")]
RESPONSE = [(":status", "200")]
CODES = h2.settings.SettingCodes


class Wire:
    """A client codec at the near end, a server codec at the far end, stream 1 open between them."""

    def __init__(self, near: Any, far: Any, server: dict[Any, int] | None = None, client: dict[Any, int] | None = None):
        self.near, self.far = near, far
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.client.update_settings(client or {})
        self.server.update_settings(server or {})
        self.client.send_headers(1, REQUEST)
        self.settle()

    def settle(self) -> None:
        """Both codecs have seen everything the other has to say."""
        while True:
            out, back = self.client.data_to_send(), self.server.data_to_send()
            if not out and not back:
                return
            self.near.sendall(out)
            self._receive(self.far, self.server, len(out))
            self.far.sendall(back)
            self._receive(self.near, self.client, len(back))

    @staticmethod
    def _receive(sock: Any, codec: Any, size: int) -> None:
        while size:
            try:
                some = sock.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                select.select([sock], [], [], 1)
                continue
            codec.receive_data(some)
            size -= len(some)

    def lend_outlet(self, backend: Any, **changes: Any) -> Any:
        """Stream 1 as an Outlet with the windows the client codec knows."""
        values = {
            "stream_window": self.client.streams[1].outbound_flow_control_window,
            "connection_window": self.client.outbound_flow_control_window,
            "max_frame": self.client.max_outbound_frame_size,
            "initial_window": self.client.remote_settings.initial_window_size,
        }
        return backend.Outlet.h2(self.near, 1, **(values | changes))

    def lend_inlet(self, backend: Any, length: int, **changes: Any) -> Any:
        """Stream 1 as an Inlet with the windows the client codec knows."""
        values = {
            "stream_window": self.client.remote_flow_control_window(1),
            "connection_window": self.client.inbound_flow_control_window,
            "max_frame": self.client.max_inbound_frame_size,
        }
        return backend.Inlet.h2(self.near, 1, length, **(values | changes))

    def serve_upload(self, on_data: Callable[[Any, int], None] | None = None) -> bytes:
        """Take the body of stream 1, opening the windows as it is consumed; every frame passes python-h2's checks."""
        body = bytearray()
        while some := self.far.recv(1 << 16):
            for event in self.server.receive_data(some):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    if on_data:
                        on_data(self, len(body))
                    self.server.acknowledge_received_data(event.flow_controlled_length, 1)
                if isinstance(event, h2.events.StreamEnded):
                    return bytes(body)
            self.far.sendall(self.server.data_to_send())
        raise AssertionError("the stream was not ended")

    def serve_download(self, data: bytes, pad: int | None = None, end: bool = True) -> list[Any]:
        """Send *data* as the body of stream 1 within the client's windows; returns the events meanwhile."""
        events: list[Any] = []
        at = 0
        while at < len(data):
            overhead = 0 if pad is None else pad + 1
            room = min(self.server.local_flow_control_window(1), self.server.max_outbound_frame_size) - overhead
            if room <= 0:
                events += self.server.receive_data(self.far.recv(1 << 16))
                self.far.sendall(self.server.data_to_send())
                continue
            part = data[at : at + room]
            at += len(part)
            self.server.send_data(1, part, end_stream=end and at == len(data), pad_length=pad)
            self.far.sendall(self.server.data_to_send())
        return events
