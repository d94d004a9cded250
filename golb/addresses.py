"""Where something may listen besides the data port: an address with a port, or nowhere. No I/O."""

from __future__ import annotations

from typing import Self

from attrs import frozen

from golb.weights import split_endpoint

_OFF = "off"


@frozen
class ListenAddress:
    """A host or an address, and a port."""

    host: str
    """Empty: nowhere."""
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `off`, `host:port`, `[address]:port` or `:port`, which is on all IPv4 addresses.

        Raises:
            ValueError, WeightsError: it is none of these.
        """
        if text.lower() == _OFF:
            return cls("", 0)
        host, port = split_endpoint(f"0.0.0.0{text}" if text.startswith(":") else text)
        if port is None or "://" in text:
            raise ValueError(text)
        return cls(host, port)

    def __bool__(self) -> bool:
        return bool(self.host)

    def __str__(self) -> str:
        if not self:
            return _OFF
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
