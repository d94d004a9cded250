"""The server: HTTP/1.1 by golb's own connection, HTTP/2 by hypercorn."""

from golb.server.connection import Connection, Peer, Timeouts
from golb.server.server import Server

__all__ = ["Connection", "Peer", "Server", "Timeouts"]
