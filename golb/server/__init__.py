"""The server: HTTP/1.1 by golb's own connection, HTTP/2 by hypercorn."""

from golb.server.connection import Connection, Peer
from golb.server.server import Server
from golb.server.timeouts import Timeouts

__all__ = ["Connection", "Peer", "Server", "Timeouts"]
