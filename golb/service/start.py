"""Which service this process is: all of golb, the parent of several workers, or one of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.config import Config
    from golb.workers.place import Place

# Each part is imported only where it is needed: a worker that takes another one's place shall be there at once, and holds
# no memory for what its parent does.


async def serve(config: Config, environ: Mapping[str, str], place: Place | None) -> None:
    """Run golb until it is told to stop.

    Args:
        config: golb's.
        environ: of the process; with the file that it may name, what `config` was made of.
        place: this process's among the workers; None: it is none of them.

    Raises:
        ListenError: the sockets cannot be opened.
        ConfigError: a plugin or a TLS file is not what it should be.
    """
    if place is not None:
        from golb.service.worker import serve_as_worker  # noqa: PLC0415

        await serve_as_worker(config, place)
        return
    from golb.takeover import take_over  # noqa: PLC0415

    taken = await take_over(config.listen_host, config.listen_port, environ, is_wanted=config.takeover)
    if config.workers > 1:
        from golb.service.parent import serve_with_workers  # noqa: PLC0415

        await serve_with_workers(config, environ, taken)
    else:
        from golb.service.single import serve_alone  # noqa: PLC0415

        await serve_alone(config, environ, taken)
