"""golb as several processes: a parent that follows the source of weights, tells and supervises, and workers that serve."""

from __future__ import annotations

import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio

from golb import __version__
from golb.admin import EventFeed, News, Sources
from golb.config import Config
from golb.deadlines import Deadlines
from golb.errors import ConfigError, ListenError
from golb.handlers import Handler
from golb.logs import line_printer, set_log_level
from golb.plugins import HANDLERS, load_plugin
from golb.poller import Poller
from golb.server.listening import open_sockets
from golb.server.spread import cells
from golb.server.tls import make_ssl_context
from golb.service.addresses import listen_place, shown_addresses
from golb.service.admin_port import AdminPort, follow_weights
from golb.service.life import Life
from golb.service.reload import Reloading
from golb.service.source import WeightSource
from golb.service.understudy import Understudies
from golb.service.worker_functions import WorkerFunctions
from golb.takeover import INHERITED
from golb.workers.output import patient
from golb.workers.place import Place, create_counts, map_counts
from golb.workers.worker import Surroundings, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.config import Config
    from golb.takeover import Taken

LOG = structlog.get_logger()

# Of a worker that can take what others leave as the drain begins.
_FIRST_ANSWER_TIMEOUT_S = 1.0
# Of a worker that finds the configuration wrong, as of any golb (golb/cli.py).
_EXIT_CONFIG = 2


async def serve_with_workers(config: Config, environ: Mapping[str, str], taken: Taken) -> None:
    """Run golb until it is told to stop (see `golb.service.life`), then let the workers drain.

    Args:
        config: in force at the start; it says, among other things, how many workers there are.
        environ: of the process, from which the configuration is read again.
        taken: what another golb has passed, whose place this one takes when it is ready.

    Raises:
        ListenError: the sockets cannot be opened.
        ConfigError: a plugin or a TLS file is not what it should be.
    """
    await _Parent(config, environ, taken).run()


class _Parent:
    """The parts, the workers among them, and the order in which they begin and end."""

    def __init__(self, config: Config, environ: Mapping[str, str], taken: Taken) -> None:
        self._config = config
        self._environ = environ
        self._variables = {name: text for name, text in environ.items() if name != INHERITED} | config.variables()
        """The workers' environment: what is in force here, whatever the file says meanwhile."""
        self._taken = taken
        self._feed = EventFeed()
        self._news = News(self._feed)
        self._source = WeightSource(config, self._news.tell_refusal)
        _check(config)
        place = listen_place(config)
        # The parent keeps them: what waits in a socket outlives the worker that has not accepted it.
        self._listeners = taken.sockets(place) or _open_listeners(config)
        self._mailboxes = [_mailbox() for _ in range(config.workers)]
        self._counts_descriptor = create_counts(cells(config.workers))
        self._counts = map_counts(self._counts_descriptor)
        self._understudies = Understudies(
            [self._listeners_of(index) for index in range(config.workers)], self._mailboxes, self._counts
        )
        self._workers = self._make_workers()
        self._functions = WorkerFunctions(self._workers)
        self._poller, self._deadlines = Poller(), Deadlines()
        self._admin_port = AdminPort(
            config, self._sources(), self._poller, self._deadlines, taken.sockets(str(config.admin_listen))
        )
        self._is_loaded = trio.Event()
        self._is_draining = False
        self._life = Life(
            config,
            environ,
            drain=self._drain,
            reload=Reloading(config, environ, self._reconfigure).reload,
            sockets=lambda: {place: self._listeners, str(config.admin_listen): self._admin_port.sockets},
        )

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await self._start(nursery)
        except* (ConfigError, ListenError) as group:
            raise group.exceptions[0] from None
        LOG.info("stopped")

    async def _start(self, nursery: trio.Nursery) -> None:
        config, source = self._config, self._source
        await nursery.start(self._life.run, nursery.cancel_scope)
        await nursery.start(self._understudies.run)
        nursery.start_soon(self._run_workers, nursery.cancel_scope)
        if config.admin_listen:
            await nursery.start(self._poller.run)
            await nursery.start(self._deadlines.run)
            nursery.start_soon(self._learn_functions)
            nursery.start_soon(follow_weights, self._news, source.broadcaster)
            nursery.start_soon(self._admin_port.run)
        await nursery.start(source.run)
        nursery.start_soon(self._note_loaded)
        await source.wait_until_worth_serving(self._is_loaded, may_hurry=self._taken.settled)
        self._life.begin()
        await self._taken.confirm()
        self._admin_port.begin()
        for worker in self._workers:
            worker.let_serve()
        for worker in self._workers:
            await worker.has_served.wait()
        nursery.start_soon(self._life.offer)
        LOG.info(
            "serving",
            version=__version__,
            node=config.node_name,
            zone=config.zone,
            handler=config.handler_type,
            workers=config.workers,
            address=shown_addresses(self._listeners),
        )

    def _make_workers(self) -> list[Worker]:
        surroundings = Surroundings(
            command=[sys.executable, *sys.orig_argv[1:]],
            environ=lambda: self._variables,
            subscribe=self._source.broadcaster.subscribe,
            taker=self._source.in_force.taker,
            print_output=patient(line_printer(sys.stdout)),
            print_errors=patient(line_printer(sys.stderr)),
            on_serving=self._understudies.end,
            on_away=self._understudies.begin,
            on_health=self._take_health,
        )
        return [
            Worker(index, partial(self._place, index), surroundings, on_end=partial(self._note_end, index))
            for index in range(self._config.workers)
        ]

    def _note_end(self, worker: int) -> None:
        """Keep what a worker whose process has ended leaves behind.

        Raises:
            ConfigError: it could not begin with this configuration, and no other one would.
        """
        self._functions.forget(worker)
        has_served = any(each.has_served.is_set() for each in self._workers)
        if self._workers[worker].exit_code == _EXIT_CONFIG and not has_served:
            raise ConfigError("no worker can be started with this configuration; one of them has said why")

    async def _run_workers(self, service: trio.CancelScope) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for worker in self._workers:
                    nursery.start_soon(worker.run)
        except* ConfigError as group:
            raise group.exceptions[0] from None
        service.cancel()

    async def _note_loaded(self) -> None:
        for worker in self._workers:
            await worker.has_had_table.wait()
        self._is_loaded.set()

    async def _drain(self, *, for_successor: bool) -> None:
        self._is_draining = True
        self._news.tell_drain()
        for worker in self._workers:
            worker.retire()  # one that was started from here on would inherit sockets that are closed
        timeout_s = max(self._config.drain_timeout, self._config.tunnel_drain_timeout)
        last = await self._first_to_answer()
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                if worker is not last:
                    # It takes by itself what waits for it, unless it dies or hangs at just this moment.
                    self._understudies.begin(worker.index)
                    nursery.start_soon(worker.drain, timeout_s)
        if last is not None:
            await self._understudies.finish()
        self._understudies.dismiss()
        # Nobody is left who would take what waited there once the last worker has closed its own.
        for sock in self._listeners:
            sock.close()
        if for_successor:
            self._admin_port.close()
        if last is not None:
            await last.drain(timeout_s)

    async def _first_to_answer(self) -> Worker | None:
        """Return a worker that accepts requests and is neither dead nor hangs, if there is any."""
        answered: list[Worker] = []

        async def ask(worker: Worker, others: trio.CancelScope) -> None:
            if worker.serves and worker.questions is not None and await worker.questions.ask("accepts") == [True]:
                answered.append(worker)
                others.cancel()

        with trio.move_on_after(_FIRST_ANSWER_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for worker in self._workers:
                    nursery.start_soon(ask, worker, nursery.cancel_scope)
        return answered[0] if answered else None

    async def _reconfigure(self, config: Config) -> None:
        _check(config)
        self._config = config
        self._variables |= config.variables()
        set_log_level(config.log_level)
        self._admin_port.reconfigure(config)
        missed: list[int] = []

        async def tell(worker: Worker) -> None:
            # A process that is not there yet starts with the new variables.
            if worker.questions is not None:
                answers = await worker.questions.ask("reconfigure", variables=self._variables)
                if answers != [True]:
                    missed.append(worker.index)

        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(tell, worker)
        if missed and not self._is_draining:  # those that end meanwhile need no configuration
            LOG.warning("not reloaded by all workers", workers=sorted(missed))

    def _place(self, index: int, link: int) -> Place:
        return Place(
            index=index,
            of=self._config.workers,
            link=link,
            listeners=tuple(sock.fileno() for sock in self._listeners_of(index)),
            inbox=self._mailboxes[index][0].fileno(),
            outboxes=tuple(outbox.fileno() for _, outbox in self._mailboxes),
            counts=self._counts_descriptor,
            has_colours=sys.stderr.isatty(),
        )

    def _listeners_of(self, worker: int) -> list[socket.socket]:
        """Return the sockets that a worker accepts from: as many as there are workers, unless another golb has passed others on."""
        listeners = self._listeners
        return listeners[worker :: self._config.workers] or [listeners[worker % len(listeners)]]

    def _take_health(self, worker: int, health: dict[str, Any]) -> None:
        self._news.tell_rest(**health, worker=worker)

    async def _learn_functions(self) -> None:
        with self._source.broadcaster.subscribe() as batches:
            await self._functions.follow(batches)

    def _sources(self) -> Sources:
        return Sources(
            node=self._config.node_name,
            zone=self._config.zone,
            version=__version__,
            started_s=time.time(),
            functions=self._functions,
            knowledge=self._source.knowledge,
            refused=self._source.refused,
            connections=self._functions.connections,
            is_draining=lambda: self._is_draining,
            is_loaded=lambda: any(worker.state == "serving" for worker in self._workers),
            events=self._feed,
            workers=self._functions.workers,
        )


def _check(config: Config) -> None:
    """Find out here what no worker could use; raises ConfigError."""
    load_plugin(HANDLERS, config.handler_type, Handler)
    make_ssl_context(config)


def _open_listeners(config: Config) -> list[socket.socket]:
    """Open a socket for each worker, which share the port."""
    # Alone, it shows whether somebody else has the port who would share it too.
    for sock in open_sockets(config):
        sock.close()
    return [sock for _ in range(config.workers) for sock in open_sockets(config, shares_port=True)]


def _mailbox() -> tuple[socket.socket, socket.socket]:
    inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inbox.setblocking(False)
    outbox.setblocking(False)
    return inbox, outbox
