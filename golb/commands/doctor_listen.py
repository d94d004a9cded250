"""`golb doctor`, where golb listens: is a port free, or has golb got it already, and what does that say of itself."""

from __future__ import annotations

import errno
import json
import socket
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import trio

from golb.addresses import ListenAddress
from golb.commands.doctor_http import Answer, any_tls, get, why
from golb.commands.doctor_report import Check

if TYPE_CHECKING:
    from golb.commands.doctor_visit import Visit

_ANSWER_S = 1.0
# Where to ask those that listen everywhere.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def check_listen(visit: Visit) -> None:
    """Look whether golb's port is free, or golb has it."""
    report, config = visit.report, visit.config
    if (variable := visit.setup.lacks("listen_")) is not None:
        report.skip(Check.LISTEN, f"{variable} first")
        return
    address = ListenAddress(config.listen_host, config.listen_port)
    if not await _is_taken(visit, Check.LISTEN, address, "listen_host"):
        return
    try:
        answer = await _ask(visit, address, "/")
    except (OSError, HTTPException, trio.TooSlowError) as exc:
        text = f"{address} is taken, and who has it does not answer: {why(exc)}"
    else:
        if _is_golb(answer):
            visit.is_running = True
            _report_golb(visit, address, answer)
            return
        text = f"{address} is taken by something else, which answers HTTP {answer.status}"
    report.wrong(Check.LISTEN, text, f"end it (ss -ltnp 'sport = :{config.listen_port}'), or set eb_go_lb_listen_port")


async def check_admin(visit: Visit) -> None:
    """Ask a golb that runs whether it is ready; where none does, look whether the port is free."""
    report = visit.report
    if (variable := visit.setup.lacks("admin_")) is not None:
        report.skip(Check.ADMIN, f"{variable} first")
        return
    address = visit.config.admin_listen
    if not address:
        report.skip(Check.ADMIN, "eb_go_lb_admin_listen is off")
        return
    if not visit.is_running:
        if await _is_taken(visit, Check.ADMIN, address, "admin_listen"):
            report.wrong(
                Check.ADMIN,
                f"{address} is taken",
                f"end who has it (ss -ltnp 'sport = :{address.port}'), or set eb_go_lb_admin_listen",
            )
        return
    try:
        alive = await _ask(visit, address, "/healthz")
        ready = await _ask(visit, address, "/readyz")
        said = json.loads(ready.body)
    except (OSError, HTTPException, trio.TooSlowError) as exc:
        report.warn(Check.ADMIN, f"{address} does not answer: {why(exc)}", "is eb_go_lb_admin_listen as golb has it?")
    except ValueError:
        report.warn(Check.ADMIN, f"{address} is no golb's", "is eb_go_lb_admin_listen as golb has it?")
    else:
        _report_readiness(visit, address, alive, ready, said)


async def _is_taken(visit: Visit, check: Check, address: ListenAddress, variable: str) -> bool:
    """Report whether one may listen there, unless somebody does already: then return true."""
    report = visit.report
    try:
        await _bind(address)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return True
        if exc.errno == errno.EACCES:
            advice = "a port from 1024 on, or the capability NET_BIND_SERVICE"
            report.wrong(check, f"this user may not listen at {address}", advice)
        else:
            advice = f"correct eb_go_lb_{variable}: it names no address of this machine"
            report.wrong(check, f"{address}: {why(exc)}", advice)
    else:
        report.ok(check, f"{address} is free")
    return False


async def _bind(address: ListenAddress) -> None:
    for family, kind, protocol, _, found in await trio.socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as sock:
            # As golb does: connections of before that linger do not count.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(found)


async def _ask(visit: Visit, address: ListenAddress, path: str) -> Answer:
    scheme = "http" if visit.config.tls_cert is None else "https"
    where = ListenAddress(_LOOPBACK.get(address.host, address.host), address.port)
    return await get(f"{scheme}://{where}{path}", timeout_s=_ANSWER_S, tls=any_tls())


def _is_golb(answer: Answer) -> bool:
    return answer.body.startswith((b"golb: ", b"Dummy response, "))


def _report_golb(visit: Visit, address: ListenAddress, answer: Answer) -> None:
    zone = visit.config.zone
    if answer.status == HTTPStatus.NOT_FOUND and f"of zone {zone};" not in answer.text:
        visit.report.warn(
            Check.LISTEN,
            f"a golb of another zone listens at {address}",
            "give the doctor the variables that golb has",
        )
    else:
        visit.report.ok(Check.LISTEN, f"a golb listens at {address}")


def _report_readiness(visit: Visit, address: ListenAddress, alive: Answer, ready: Answer, said: Any) -> None:
    report = visit.report
    if not isinstance(said, dict) or "reason" not in said or alive.status != HTTPStatus.OK:
        report.warn(Check.ADMIN, f"{address} is no golb's", "is eb_go_lb_admin_listen as golb has it?")
    elif ready.status == HTTPStatus.OK:
        since = f", as of {said['age_s']:.1f} s ago" if said.get("age_s") is not None else ""
        report.ok(
            Check.ADMIN, f"golb is ready: weights from {said.get('source')}, revision {said.get('revision')}{since}"
        )
    else:
        report.wrong(Check.ADMIN, f"golb is not ready: {said.get('reason')}", "see above, and golb's log")
