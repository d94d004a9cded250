"""Ports that are given out: by Linux's rules, so that they hold between processes that know nothing of each other."""

from __future__ import annotations

import os
import socket
from collections import deque

import pytest

from demo import ports
from demo.ports import HOST, choose_ports, keep_port


def test_a_kept_port_refuses_clients_until_somebody_listens() -> None:
    port = keep_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))
    for host in ("", HOST):
        # As servers do, `create_server` sets SO_REUSEADDR.
        with socket.create_server((host, port)), socket.create_connection((HOST, port)):
            pass


def test_nobody_else_is_given_a_kept_port(monkeypatch: pytest.MonkeyPatch) -> None:
    port = keep_port()
    monkeypatch.setattr(ports, "OTHER_PORTS", [port])
    monkeypatch.setattr(ports, "ATTEMPTS", 1)
    with pytest.raises(OSError, match="no free port"):
        keep_port()
    # Nor while its listener is there, nor when that is gone: an etcd that was stopped comes back to its port.
    with socket.create_server((HOST, port)), pytest.raises(OSError, match="no free port"):
        keep_port()
    with pytest.raises(OSError, match="no free port"):
        keep_port()


def test_only_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MOST_KEPT", 2)
    descriptors: deque[int] = deque()
    monkeypatch.setattr(ports, "_kept", descriptors)
    kept = [keep_port() for _ in range(3)]
    monkeypatch.setattr(ports, "OTHER_PORTS", kept)
    monkeypatch.setattr(ports, "ATTEMPTS", len(kept))
    assert keep_port() == kept[0]
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_preferred_port_comes_once_and_only_if_nobody_listens() -> None:
    port = keep_port()
    first, second = choose_ports([port, port])
    assert first == port
    assert second != port
    with socket.create_server((HOST, port)):
        assert choose_ports([port]) != [port]
