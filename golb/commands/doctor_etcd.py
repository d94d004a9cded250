"""`golb doctor`, etcd: is it there, may it be asked over JSON, does it let golb in, and has it the zone.

Method: who answers at a member's address, and what time it is there, tells `/version`, which etcd serves without
authentication and with its JSON API off. All else is asked as golb asks it, by golb's own client.
"""

from __future__ import annotations

import json
import ssl
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING

import trio
from attrs import evolve, frozen

from golb.commands.doctor_http import Answer, etcd_tls, get, why
from golb.commands.doctor_report import Check, Verdict
from golb.commands.doctor_visit import Known
from golb.commands.entries import read_entry
from golb.trio_etcd import (
    Compare,
    EtcdError,
    InvalidCredentials,
    MalformedAnswer,
    PermissionDenied,
    PutOp,
    Unauthenticated,
    Unavailable,
)
from golb.updaters.etcd_client import make_client
from golb.weights import KEY_PREFIX

if TYPE_CHECKING:
    from golb.commands.doctor_report import Report
    from golb.commands.doctor_visit import Visit
    from golb.config import Config
    from golb.trio_etcd import RangeResult, Status

# The header's time is in whole seconds.
_CLOCK_DIFFERS_S = 2.0
_CLOCK_WRONG_S = 60.0

_STATUS_PREFIX = "golb/status/"
_NOT_REACHED = "etcd cannot be asked, see above"


@frozen
class Member:
    """What has answered at the address of a member."""

    url: str
    version: str
    clock_ahead_s: float | None
    """How far this machine's clock is ahead of the member's, give or take a second; negative: behind; None: not told."""


@frozen
class NoMember:
    """Why nobody did, or somebody else."""

    url: str
    text: str
    advice: str


async def check_members(visit: Visit) -> None:
    """Look who answers at each address of `eb_go_lb_etcd_host`, and what time it is there."""
    report = visit.report
    config = visit.config
    if (variable := visit.setup.lacks("etcd_")) is not None:
        report.skip(Check.ETCD, f"{variable} first")
        return
    try:
        tls = etcd_tls(config) if any(url.startswith("https:") for url in config.etcd_host) else None
    except (OSError, ValueError) as exc:
        report.wrong(
            Check.ETCD, f"TLS with etcd: {why(exc)}", "look at eb_go_lb_etcd_ca, _cert and _key: PEM, no password"
        )
        return
    found: dict[str, Member | NoMember] = {}

    async def ask(url: str) -> None:
        found[url] = await _ask(url, config.etcd_timeout, tls)

    async with trio.open_nursery() as nursery:
        for url in config.etcd_host:
            nursery.start_soon(ask, url)
    answers = [found[url] for url in config.etcd_host]
    members = [each for each in answers if isinstance(each, Member)]
    for each in answers:
        if isinstance(each, Member):
            report.ok(Check.ETCD, f"{each.url} is an etcd {each.version}")
        elif members:
            report.warn(Check.ETCD, f"{each.url}: {each.text}; golb uses the other members", each.advice)
        else:
            report.wrong(Check.ETCD, f"{each.url}: {each.text}", each.advice)
    visit.members = [each.url for each in members]
    _check_clocks(members, report)


async def check_gateway_api(visit: Visit) -> None:
    """Ask each member over JSON how it is."""
    report = visit.report
    if not visit.members:
        report.skip(Check.GATEWAY_API, _NOT_REACHED)
        return
    clusters: dict[int, str] = {}
    usable = []
    for url in visit.members:
        try:
            status = await _status(url, visit.config)
        except MalformedAnswer:
            report.wrong(
                Check.GATEWAY_API,
                f"{url} serves no JSON API at /v3/",
                "start etcd without --enable-grpc-gateway=false; etcd is 3.4 or newer",
            )
            continue
        except Unauthenticated:  # so the API is there
            status = None
        except EtcdError as exc:
            report.wrong(Check.GATEWAY_API, f"{url}: {exc}", "look at this member's log")
            continue
        usable.append(url)
        if status is not None:
            clusters.setdefault(status.header.cluster_id, url)
            _check_status(url, status, report)
    if len(clusters) > 1:
        report.wrong(
            Check.GATEWAY_API,
            f"{' and '.join(clusters.values())} are members of different clusters",
            "name the members of one cluster in eb_go_lb_etcd_host",
        )
    visit.members = usable
    if usable and not report.has(Check.GATEWAY_API, Verdict.WRONG, Verdict.WARNING):
        report.ok(
            Check.GATEWAY_API, f"on at {len(usable)} of {len(visit.config.etcd_host)} addresses; there is a leader"
        )


async def check_zone(visit: Visit) -> None:
    """Read the zone as golb does: that takes a login, a permission, and keys."""
    report, setup = visit.report, visit.setup
    why_not = None if visit.members else _NOT_REACHED
    if (variable := setup.lacks("zone")) is not None:
        why_not = f"{variable} first"
    if why_not is not None:
        report.skip(Check.LOGIN, why_not)
        report.skip(Check.ZONE, why_not)
        return
    config = evolve(visit.config, etcd_host=tuple(visit.members))
    prefix = f"{KEY_PREFIX}{config.zone}/"
    async with make_client(config) as client:
        try:
            listed = await client.get_prefix(prefix)
            if config.ack:
                status_key = f"{_STATUS_PREFIX}{config.zone}/{config.node_name}"
                # Never true, so nothing is put; but etcd looks whether it might be.
                await client.txn([Compare.mod_revision(prefix, "<", 0)], [PutOp(status_key, b"")])
        except EtcdError as exc:
            _report_refusal(exc, config, report)
            report.skip(Check.ZONE, "it cannot be read, see above")
            return
        who = f"user {config.etcd_user}" if config.etcd_user is not None else "anybody"
        report.ok(Check.LOGIN, f"{who} may read {prefix}" + (", and write golb's status" if config.ack else ""))
        visit.table = _entries(listed, config)
        if listed.kvs:
            report.ok(Check.ZONE, f"keys in {config.zone}: {len(listed.kvs):,}, at revision {listed.revision}")
            return
        try:
            others = await client.get_prefix(KEY_PREFIX, keys_only=True)
        except EtcdError:  # golb needs no permission for it, so it mostly has none
            report.warn(Check.ZONE, *_no_keys(config.zone, "golb answers 404 to every call"))
            return
    zones = sorted({kv.key.decode(errors="backslashreplace").split("/")[2] for kv in others.kvs})
    if zones:
        named = ", ".join(zones[:10])
        report.wrong(Check.ZONE, *_no_keys(config.zone, f"others have: {named}"))
    else:
        report.warn(Check.ZONE, *_no_keys(config.zone, "no other zone has any either"))


async def _ask(url: str, timeout_s: float, tls: ssl.SSLContext | None) -> Member | NoMember:
    started = time.time()
    try:
        answer = await get(f"{url}/version", timeout_s=timeout_s, tls=tls)
    except ConnectionRefusedError:
        return NoMember(url, "nobody listens there", "start etcd, or correct eb_go_lb_etcd_host")
    except ssl.SSLCertVerificationError as exc:
        return NoMember(url, why(exc), "let eb_go_lb_etcd_ca name the authority, and the certificate this host")
    except (OSError, HTTPException, trio.TooSlowError) as exc:
        # A server without TLS closes the connection, and what it has not read of the handshake may make that a reset.
        if url.startswith("https:") and isinstance(exc, ssl.SSLError | ConnectionResetError):
            advice = "is it http://? does it want eb_go_lb_etcd_cert and _key?"
            return NoMember(url, f"no TLS: {why(exc)}", advice)
        return NoMember(url, why(exc), "can this machine resolve and reach it? look at DNS, routes and firewalls")
    version = _version(answer)
    if version is None:
        if answer.status == HTTPStatus.BAD_REQUEST and "HTTPS" in answer.text:
            return NoMember(url, "it speaks TLS", f"write https://{url.partition('://')[2]} in eb_go_lb_etcd_host")
        return NoMember(
            url, f"something else than etcd answers there, HTTP {answer.status}", "correct eb_go_lb_etcd_host"
        )
    return Member(url, version, _clock_ahead_s(answer, (started + time.time()) / 2))


def _version(answer: Answer) -> str | None:
    try:
        version = json.loads(answer.body)["etcdserver"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return version if isinstance(version, str) else None


def _clock_ahead_s(answer: Answer, now: float) -> float | None:
    try:
        said = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return None
    # The header is cut to whole seconds, so on average it is half a second old.
    return now - said.timestamp() - 0.5


def _check_clocks(members: list[Member], report: Report) -> None:
    told = [(each.clock_ahead_s, each.url) for each in members if each.clock_ahead_s is not None]
    if not told:
        report.skip(Check.CLOCK, "it is compared with etcd's, which is not known")
        return
    ahead_s, url = max(told, key=lambda each: abs(each[0]))
    if abs(ahead_s) < _CLOCK_DIFFERS_S:
        report.ok(Check.CLOCK, "as etcd's, within the second that can be told")
        return
    text = f"{abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} that of {url}"
    advice = "synchronize both (chrony, systemd-timesyncd): the times in X-Forwarded-Host-<Node> come from here"
    (report.wrong if abs(ahead_s) >= _CLOCK_WRONG_S else report.warn)(Check.CLOCK, text, advice)


async def _status(url: str, config: Config) -> Status:
    anonymous = evolve(config, etcd_host=(url,), etcd_user=None, etcd_password=None, etcd_password_file=None)
    async with make_client(anonymous) as client:
        return await client.status()


def _check_status(url: str, status: Status, report: Report) -> None:
    if not status.leader:
        report.wrong(
            Check.GATEWAY_API, f"{url} knows no leader: it answers no reads", "look whether most members run and meet"
        )
    for alarm in status.errors:
        report.warn(Check.GATEWAY_API, f"{url} has an alarm: {alarm}", "no weights can be put: see etcdctl alarm list")


def _report_refusal(exc: EtcdError, config: Config, report: Report) -> None:
    user = config.etcd_user
    match exc:
        case Unavailable():
            report.wrong(Check.LOGIN, f"etcd does not answer: {exc}", "look whether most members run and meet")
        case Unauthenticated() if user is None:
            report.wrong(
                Check.LOGIN, f"etcd wants a user: {exc}", "set eb_go_lb_etcd_user and eb_go_lb_etcd_password_file"
            )
        case PermissionDenied():
            rights = f"read --prefix=true {KEY_PREFIX}{config.zone}/"
            if config.ack:
                rights += f", and (eb_go_lb_ack) readwrite {_STATUS_PREFIX}{config.zone}/{config.node_name}"
            report.wrong(
                Check.LOGIN,
                f"user {user} may not do what golb does: {exc}",
                f"etcdctl role grant-permission <role> {rights}",
            )
        case InvalidCredentials():
            report.wrong(
                Check.LOGIN, f"user {user}: {exc}", "correct eb_go_lb_etcd_user and eb_go_lb_etcd_password(_file)"
            )
        case _:
            report.wrong(Check.LOGIN, f"etcd refuses: {exc}", "look at etcd's log")


def _entries(listed: RangeResult, config: Config) -> list[Known]:
    entries = (read_entry(kv, config.zone, config.target_networks) for kv in listed.kvs)
    return [
        Known(each.function or each.key, each.weights, each.refused, is_function=each.function is not None)
        for each in entries
    ]


def _no_keys(zone: str, more: str) -> tuple[str, str]:
    return f"{zone} has no keys; {more}", f"correct eb_go_lb_zone, or put weights: golb weights set --zone {zone} ..."
