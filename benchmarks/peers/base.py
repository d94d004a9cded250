"""A peer: one proxy, told to do the same work as the others.

The work: listen on one loopback port, one worker unless it is named for more; strip `/function/echo`; spread requests over the endpoints by their
weights; keep connections open on both sides, with room for 256 idle ones to each endpoint; pass bodies on as they come;
write no access log. What is not named here stays as the proxy's authors chose it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from benchmarks.checks import answers
from benchmarks.children import child
from benchmarks.install import find_program

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.children import Child


@frozen(kw_only=True)
class Site:
    """What a peer is told."""

    directory: Path
    """For its files; exists, and is its own."""
    port: int
    """On 127.0.0.1."""
    endpoints: Mapping[str, int]
    """Weights by `host:port`."""
    proxy_cores: Sequence[int]
    load_cores: Collection[int]
    """For what the peer needs beside itself, such as etcd."""


class Peer(ABC):
    """One proxy of the comparison."""

    name: ClassVar[str]
    """On the command line and in the results."""
    install: ClassVar[str]
    """What to install, for people."""
    workers: ClassVar[int] = 1
    """Processes or threads that serve."""

    def missing(self) -> str | None:
        """Return why it cannot be measured here; None if it can."""
        return None if self.program() else f"not installed: {self.install}"

    @abstractmethod
    def program(self) -> str | None:
        """Return the path of what is run."""

    @abstractmethod
    def version(self) -> str:
        """Return the version, as the results show it."""

    @abstractmethod
    def command(self, site: Site) -> list[str]:
        """Return the command line."""

    def files(self, site: Site) -> Mapping[str, str]:
        """Return the configuration files, by name in the site's directory."""
        del site
        return {}

    def environ(self, site: Site) -> Mapping[str, str]:
        """Return what is added to the environment."""
        del site
        return {}

    def prepare(self, site: Site, stack: ExitStack) -> None:
        """Start what it needs beside itself; the stack ends it."""
        del site, stack

    @contextmanager
    def serve(self, site: Site) -> Iterator[Child]:
        """Run it while the block lasts; it answers when the block begins.

        Raises:
            PeerFailed: it does not start.
        """
        for file, text in self.files(site).items():
            (site.directory / file).write_text(text)
        with ExitStack() as stack:
            self.prepare(site, stack)
            environ = {name: value for name, value in os.environ.items() if not name.lower().startswith("eb_go_lb_")}
            process = stack.enter_context(
                child(
                    self.name,
                    self.command(site),
                    cores=site.proxy_cores,
                    log=site.directory / "log",
                    environ={**environ, **self.environ(site)},
                )
            )
            process.wait_until(lambda: answers(site.port))
            yield process


class ProgramPeer(Peer):
    """A proxy that is a program of its own."""

    executable: ClassVar[str]

    def program(self) -> str | None:
        return find_program(self.executable)

    def path(self) -> str:
        """Return the program's path, when it is known to be there."""
        return self.program() or self.executable


def with_workers(peer: type[Peer], workers: int) -> type[Peer]:
    """Return the same proxy with so many workers."""
    return type(peer.__name__, (peer,), {"name": f"{peer.name}-{workers}", "workers": workers, "__doc__": peer.__doc__})


def weighted(endpoints: Mapping[str, int]) -> Sequence[tuple[int, str, int]]:
    """Return number, `host:port` and weight of each endpoint."""
    return [(number, address, weight) for number, (address, weight) in enumerate(endpoints.items())]
