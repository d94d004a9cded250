"""`golb doctor`, the weights: what golb would refuse of them, do their targets accept, and which are gateways.

Method: golb takes the function's name off the URL, except for a gateway. So one endpoint under several functions could
not tell their calls apart: it is another zone's load balancer that nobody has named, or a mistake.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections import defaultdict
from typing import TYPE_CHECKING

import trio

from golb.commands.doctor_http import why
from golb.commands.doctor_report import Check, Verdict
from golb.commands.doctor_visit import Known
from golb.commands.errors import ValueRefused
from golb.commands.plans import read_values
from golb.commands.views import total
from golb.weights import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from golb.commands.doctor_visit import Visit
    from golb.config import Config

_TRIED_AT_ONCE = 64
# eb_go_lb_connect_timeout may be none.
_MOST_CONNECT_S = 5.0
_LAST_WORDS_S = 0.05
_NAMED_FUNCTIONS = 3
_PLACEHOLDER = ".invalid"
"""No name that ends so ever resolves (RFC 2606): deploy/k8s has one to be replaced."""


async def read_file(visit: Visit) -> None:
    """Read the weights from where golb would, if that is a file."""
    path = visit.config.weights_file
    if path is None:
        raise ValueError("there is no eb_go_lb_weights_file")
    try:
        content = await trio.Path(path).read_bytes()
        desired = read_values(content, visit.config.target_networks)
    except (OSError, ValueRefused) as exc:
        cause = why(exc) if isinstance(exc, OSError) else str(exc)
        visit.report.wrong(
            Check.ZONE, f"{path}: {cause}", "correct the file: golb weights check shows what is wrong in it"
        )
        return
    visit.table = [Known(each.function, each.weights, each.refused) for each in desired]
    visit.report.ok(Check.ZONE, f"functions in {path}: {len(desired):,}")


async def check_values(visit: Visit) -> None:
    """Say what golb refuses, and which functions have no target that could be picked."""
    report, table = visit.report, visit.table
    if not table:
        report.skip(Check.VALUES, "there are none to look at")
        return
    functions = [each for each in table if each.is_function]
    ignored = [f"{each.name}: {each.refused}" for each in table if not each.is_function]
    refused = [f"{each.name}: {each.refused}" for each in functions if each.refused is not None]
    empty = [each.name for each in functions if each.weights is not None and not total(each.weights)]
    report.all_of(
        Check.VALUES,
        Verdict.WRONG,
        refused,
        "correct the value; until then golb keeps the last good one it has seen, if any",
    )
    report.all_of(Check.VALUES, Verdict.WARNING, ignored, "golb ignores the key: delete it")
    report.all_of(
        Check.VALUES,
        Verdict.WARNING,
        [f"{name} has no target with a positive weight" for name in empty],
        "golb answers 503: give it one, or delete the function",
    )
    if not (refused or ignored or empty):
        report.ok(Check.VALUES, f"golb refuses none; functions: {len(functions):,}")


async def check_targets(visit: Visit) -> None:
    """Connect to each target that has a weight, as golb does."""
    report, config = visit.report, visit.config
    users = _users(visit.table or ())
    if not users:
        report.skip(Check.TARGETS, "there are none to try")
        return
    faults = await _try_all(users, config)
    dead = [f"{each} ({_named(users[each])}): {fault}" for each, fault in faults.items() if fault]
    report.all_of(
        Check.TARGETS,
        Verdict.WRONG,
        dead,
        "start it or let it be reached from here, or take its weight away: golb weights drain <target>",
    )
    untried = len(users) - len(faults)
    if untried:
        report.warn(Check.TARGETS, f"{untried:,} of {len(users):,} were not tried in time", "raise --timeout")
    elif not dead:
        report.ok(Check.TARGETS, f"each accepts connections; targets: {len(users):,}")


async def check_gateways(visit: Visit) -> None:
    """Compare `eb_go_lb_gateways` with this node and with the weights."""
    report, config = visit.report, visit.config
    if (variable := visit.setup.lacks("gateways")) is not None:
        report.skip(Check.GATEWAYS, f"{variable} first")
        return
    gateways = config.gateways
    users = _users(visit.table or ())
    listed = [*((host, None) for host in gateways.hosts), *((each.host, each.port) for each in gateways.endpoints)]
    unlisted = [endpoint for endpoint in users if endpoint not in gateways]
    for host, port in sorted(listed, key=str):
        await _check_listed(visit, host, port, unlisted)
    listed_hosts = {host for host, _ in listed}
    suspects = [
        f"{each} ({_named(users[each])}) stands under {len(users[each])} functions, and is no gateway"
        for each in unlisted
        if len(users[each]) > 1
    ]
    suspects += [
        f"{each} ({_named(users[each])}) is no gateway, and another port of its host is one"
        for each in unlisted
        if len(users[each]) == 1 and each.host in listed_hosts and not _is_loopback(each.host)
    ]
    report.all_of(
        Check.GATEWAYS,
        Verdict.WARNING,
        suspects,
        "if it is another zone's load balancer, add it to eb_go_lb_gateways: else it gets URLs without /function/<function>",
    )
    if report.has(Check.GATEWAYS, Verdict.WRONG, Verdict.WARNING):
        return
    if visit.table is None:
        report.skip(Check.GATEWAYS, f"{len(listed)} listed; the weights, which they are compared with, are not known")
    else:
        used = sum(endpoint in gateways for endpoint in users)
        report.ok(Check.GATEWAYS, f"{len(listed)} listed, {used} among the targets; no other looks like one")


async def _check_listed(visit: Visit, host: str, port: int | None, unlisted: Iterable[Endpoint]) -> None:
    report = visit.report
    shown = host if port is None else str(Endpoint(host, port))
    if host.endswith(_PLACEHOLDER):
        report.wrong(
            Check.GATEWAYS,
            f"{shown} is a placeholder",
            'name the other zones\' load balancers in eb_go_lb_gateways, or set it to "" where there are none',
        )
        return
    try:
        addresses = await _resolve(host)
    except OSError as exc:
        report.warn(Check.GATEWAYS, f"{shown} does not resolve: {why(exc)}", "correct eb_go_lb_gateways, or the DNS")
        return
    if any(map(_is_local, addresses)):
        if port == visit.config.listen_port:
            report.wrong(
                Check.GATEWAYS,
                f"{shown} is this node: its calls would come back to it",
                "take it out of eb_go_lb_gateways, and out of this zone's weights",
            )
        elif port is None:
            report.warn(
                Check.GATEWAYS,
                f"{shown} is this machine, all ports of it: no function on it counts as one of this zone",
                "name the ports of other load balancers in eb_go_lb_gateways",
            )
    meant = [each for each in unlisted if each.host in addresses and port in {None, each.port}]
    report.all_of(
        Check.GATEWAYS,
        Verdict.WARNING,
        [f"{each} is {shown}, but golb compares what is written" for each in meant],
        "write it in eb_go_lb_gateways as it stands in the weights",
    )


def _users(table: Iterable[Known]) -> dict[Endpoint, list[str]]:
    """Return the targets that can be picked, each with its functions."""
    users: defaultdict[Endpoint, list[str]] = defaultdict(list)
    for each in table:
        for endpoint, weight in each.weights.by_endpoint.items() if each.weights is not None else ():
            if weight:
                users[endpoint].append(each.name)
    return users


def _named(functions: list[str]) -> str:
    more = len(functions) - _NAMED_FUNCTIONS
    return ", ".join(functions[:_NAMED_FUNCTIONS]) + (f" and {more} more" if more > 0 else "")


async def _try_all(endpoints: Iterable[Endpoint], config: Config) -> dict[Endpoint, str]:
    """Return what is wrong with each, empty if nothing is; those that were not tried before the end are missing."""
    faults: dict[Endpoint, str] = {}
    left: Iterator[Endpoint] = iter(endpoints)

    async def work() -> None:
        for endpoint in left:
            faults[endpoint] = await _try(endpoint, config)

    # Before the time of the whole check is over: what is known by then counts.
    with trio.move_on_at(trio.current_effective_deadline() - _LAST_WORDS_S):
        async with trio.open_nursery() as nursery:
            for _ in range(_TRIED_AT_ONCE):
                nursery.start_soon(work)
    return faults


async def _try(endpoint: Endpoint, config: Config) -> str:
    timeout_s = min(config.connect_timeout or _MOST_CONNECT_S, _MOST_CONNECT_S)
    fault = f"no answer within {timeout_s:g} s"
    with trio.move_on_after(timeout_s):
        try:
            fault = await _connect(endpoint, config)
        except OSError as exc:
            fault = f"does not resolve: {why(exc)}"
    return fault


async def _connect(endpoint: Endpoint, config: Config) -> str:
    """Connect to the first address that accepts and golb may connect to; return why there is none, empty if there is one.

    Raises:
        OSError: the name does not resolve.
    """
    fault = "it has no address"
    for family, _, _, _, address in await trio.socket.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM
    ):
        host = str(address[0])
        if endpoint.port == config.listen_port and _is_local(host):
            return "golb itself listens there, and answers what comes back to it with 508"
        refusal = config.target_networks.refusal(host)
        if refusal is not None:
            fault = refusal
            continue
        with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
            try:
                await sock.connect(address)
            except OSError as exc:
                fault = os.strerror(exc.errno or 0)  # Trio's text names the address again
            else:
                return ""
    return fault


async def _resolve(host: str) -> list[str]:
    found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_loopback(host: str) -> bool:
    """Tell whether a host is this machine only, where a developer has functions and load balancers side by side."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_local(address: str) -> bool:
    """Tell whether an address is one of this machine's: nobody can bind another's."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True
