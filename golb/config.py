"""Configuration: every `eb_go_lb_*` variable, read and checked once.

Rule: a value is checked here, whole, before anything starts; the environment is passed in, never looked up.
"""

from __future__ import annotations

import difflib
import socket
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, fields, frozen

from golb import texts
from golb.addresses import ListenAddress
from golb.env_file import ACCEPTS as ENV_FILE
from golb.errors import ConfigError, WeightsError
from golb.networks import TargetNetworks, TrustedProxies
from golb.plugins import HANDLERS, WEIGHT_UPDATERS, plugin_names
from golb.routes import Gateways

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PREFIX = "eb_go_lb_"
REQUIRED = object()
HIDDEN = "***"
LOG_LEVELS = ("debug", "info", "warning", "error")
MODES = ("dev", "prod")
ACCESS_LOGS = ("off", "json", "common")
TRACINGS = ("off", "otlp")

_SHOWN_CHARACTERS = 200
# What is not set here is an empty list, not None.
_PARSED_EMPTY = ("gateways", "target_networks")


def _variable(
    default: Any,
    parse: Callable[[str], Any],
    accepts: str | Callable[[], str],
    meaning: str,
    *,
    is_secret: bool = False,
    at_run_time: bool = False,
) -> Any:
    """Make a field that is read from the variable of its name.

    What a secret one holds is never shown. What can change at run time is taken over by whoever has it: `golb.service.reload`.
    """
    metadata = {
        "default": default,
        "parse": parse,
        "accepts": accepts,
        "meaning": meaning,
        "is_secret": is_secret,
        "at_run_time": at_run_time,
    }
    return field(metadata=metadata, repr=not is_secret)


_SECONDS = "a duration such as 10, 2.5s, 500ms or 1m (a plain number is in seconds)"
_SECONDS_OR_NONE = f"{_SECONDS}; 0 = none"
_PEM = "the path of a PEM file"
_COUNT_OR_NONE = "a number; 0 = no limit"
_PERCENT = "a percentage from 0 to 100"
_NETWORKS = "networks or addresses separated by white space or commas, such as 10.42.0.0/16 fd00::/8"


@frozen(kw_only=True)
class Config:
    """The configuration of one golb; made by `from_environ`."""

    zone: str = _variable(
        REQUIRED,
        texts.zone,
        "a name without slash and space, such as zone-a",
        "whose functions are served: golb/function/<zone>/",
    )
    node_name: str = _variable(
        "",
        texts.node_name,
        "a host name",
        "by which this node marks what it forwards; default: $HOSTNAME, else the host's name",
    )
    handler_type: str = _variable(
        "dummy",
        texts.plugin(HANDLERS),
        lambda: " | ".join(plugin_names(HANDLERS)),
        "who answers: wrr is the load balancer",
    )
    mode: str = _variable(
        "dev", texts.one_of(*MODES), " | ".join(MODES), "logs: coloured lines on stderr, or JSON lines on stdout"
    )
    env_file: Path | None = _variable(
        "",
        texts.path,
        ENV_FILE,
        "its variables stand in for those of the environment; read again at SIGHUP",
    )
    log_level: str = _variable(
        "info", texts.one_of(*LOG_LEVELS), " | ".join(LOG_LEVELS), "the least level that is logged", at_run_time=True
    )
    access_log: str = _variable(
        "off",
        texts.one_of(*ACCESS_LOGS),
        " | ".join(ACCESS_LOGS),
        "a line for each call, as JSON or in the Common Log Format",
    )
    access_log_path: Path | None = _variable(
        "", texts.path, "the path of a file to append to", "where these lines go; default: stdout"
    )
    access_log_sample: float = _variable(
        "100",
        texts.sample,
        f"{_PERCENT}, or 1/N such as 1/100",
        "how many of the calls have a line, in percent",
        at_run_time=True,
    )
    tracing: str = _variable(
        "off",
        texts.one_of(*TRACINGS),
        " | ".join(TRACINGS),
        "spans by OTLP, as the OTEL_* variables say; needs golb[otel]",
    )
    listen_host: str = _variable(
        "0.0.0.0", texts.host, "an IPv4 or IPv6 address or a host name, without a port", "where to listen; :: is both"
    )
    listen_port: int = _variable("8080", texts.port, "a port from 1 to 65535", "where to listen")
    workers: int = _variable(
        "1",
        texts.workers,
        f"a number from 1 to {texts.MAX_WORKERS}, or auto",
        "processes that serve; auto is one for each core that golb may use",
    )
    takeover: bool = _variable(
        "off",
        texts.switch,
        "off | on",
        "take the place of a golb that listens here and has it on too, without a refused connection",
    )
    tls_cert: Path | None = _variable(
        "", texts.path, _PEM, "certificate chain: serve HTTPS, HTTP/2 included", at_run_time=True
    )
    tls_key: Path | None = _variable("", texts.path, _PEM, "its private key", at_run_time=True)
    admin_listen: ListenAddress = _variable(
        "127.0.0.1:8081",
        ListenAddress.parse,
        "host:port, [IPv6 address]:port, :port, or off",
        "where to tell of health, metrics and status",
    )
    admin_token: str | None = _variable(
        "",
        texts.bearer_token,
        "letters, digits and -._~+/",
        "what clients of the admin port have to know, but for its health",
        is_secret=True,
    )
    metrics_endpoint_label: bool = _variable(
        "on", texts.switch, "off | on", "measure each endpoint of each function; off where there are too many"
    )
    weight_updater: str = _variable(
        "etcd",
        texts.plugin(WEIGHT_UPDATERS),
        lambda: " | ".join(plugin_names(WEIGHT_UPDATERS)),
        "where weights come from",
    )
    etcd_host: tuple[str, ...] = _variable(
        "localhost:2379",
        texts.etcd_urls,
        "hosts separated by white space or commas, each [http[s]://]host[:port]",
        "the members of etcd; one is asked first at random, and then the next ones in this order",
    )
    etcd_timeout: float = _variable(
        "5",
        texts.positive_duration_s,
        f"{_SECONDS}, above 0",
        "how soon golb knows that etcd, or its watch there, is of no use any more",
    )
    etcd_user: str | None = _variable(
        "", texts.one_line, "the name of a user of etcd", "who golb is to etcd; needs a password"
    )
    etcd_password: str | None = _variable(
        "", texts.secret, "text in UTF-8", "that user's password; a file is safer", is_secret=True
    )
    etcd_password_file: Path | None = _variable(
        "",
        texts.path,
        "the path of a file",
        "that user's password, read anew at each login; its last line end is left out",
    )
    etcd_ca: Path | None = _variable(
        "", texts.path, _PEM, "whom to trust as etcd over https; default: whom the system trusts"
    )
    etcd_cert: Path | None = _variable("", texts.path, _PEM, "the certificate chain that golb shows to etcd")
    etcd_key: Path | None = _variable("", texts.path, _PEM, "its private key")
    etcd_insecure_skip_verify: bool = _variable(
        "off", texts.switch, "off | on", "take any certificate for etcd's: for trials only"
    )
    state_dir: Path | None = _variable(
        "",
        texts.path,
        "the path of a directory",
        "where the last weights from etcd are saved, for a start while it is away",
    )
    state_max_age: float = _variable(
        "0", texts.duration_s, f"{_SECONDS}; 0 = any", "how old saved weights may be to be served"
    )
    ack: bool = _variable("off", texts.switch, "off | on", "tell in etcd which revision is in force on this node")
    weights_file: Path | None = _variable(
        "", texts.path, "the path of a JSON file", "for weight updater file: an object of values by function"
    )
    gateways: Gateways = _variable(
        "",
        Gateways.parse,
        "entries separated by white space, each [http://]host[:port]",
        "load balancers of other zones; a host without port means all its ports",
        at_run_time=True,
    )
    target_networks: TargetNetworks = _variable(
        "",
        TargetNetworks.parse,
        _NETWORKS,
        "where endpoints may lie, gateways included; default: anywhere but link-local, cloud metadata, multicast",
    )
    trusted_proxies: TrustedProxies = _variable(
        "all",
        TrustedProxies.parse,
        f"all, none, or {_NETWORKS}",
        "whose X-Forwarded-For and X-Forwarded-Host-<Node> are believed; with networks, name other zones' golbs too",
        at_run_time=True,
    )
    max_connections: int = _variable(
        "0",
        texts.number,
        "a number; 0 = as many as there are file descriptors for, up to 16384",
        "clients connected at once; further ones wait until one ends, or an idle one gives way",
        at_run_time=True,
    )
    drain_timeout: float = _variable(
        "10", texts.duration_s, _SECONDS, "how long requests may take to finish after SIGTERM", at_run_time=True
    )
    tunnel_drain_timeout: float = _variable(
        "10",
        texts.duration_s,
        f"{_SECONDS}; 0 = as long as the rest takes",
        "how long tunnels (WebSocket and others) may go on after SIGTERM",
        at_run_time=True,
    )
    connect_timeout: float = _variable(
        "1", texts.duration_s, _SECONDS_OR_NONE, "for a connection to an endpoint", at_run_time=True
    )
    response_timeout: float = _variable(
        "300",
        texts.duration_s,
        _SECONDS_OR_NONE,
        "for an endpoint's answer to begin, and for each pause in it",
        at_run_time=True,
    )
    upstream_idle_timeout: float = _variable(
        "30", texts.duration_s, _SECONDS_OR_NONE, "how long an unused connection is kept", at_run_time=True
    )
    upstream_max_idle: int = _variable(
        "256", texts.number, "a number", "unused connections kept for each endpoint", at_run_time=True
    )
    failover: bool = _variable(
        "on",
        texts.switch,
        "off | on",
        "ask another endpoint where one fails, and let those that fail rest",
        at_run_time=True,
    )
    rest_min: float = _variable(
        "1",
        texts.positive_duration_s,
        f"{_SECONDS}, above 0",
        "how long an endpoint rests first; doubled each time",
        at_run_time=True,
    )
    rest_max: float = _variable(
        "30", texts.positive_duration_s, f"{_SECONDS}, above 0", "how long it rests at most", at_run_time=True
    )
    rest_after: int = _variable(
        "5",
        texts.positive_number,
        "a number above 0",
        "failures in a row, behind a request that was sent, before it rests",
        at_run_time=True,
    )
    retry_budget: float = _variable(
        "20",
        texts.percent,
        _PERCENT,
        "how many of the requests under way may be second tries, in percent",
        at_run_time=True,
    )
    retry_budget_min: int = _variable(
        "3", texts.number, "a number", "how many second tries there may be in any case", at_run_time=True
    )
    panic_threshold: float = _variable(
        "50",
        texts.percent,
        _PERCENT,
        "how much of a function's weight may rest before rests are cut short",
        at_run_time=True,
    )
    max_inflight: int = _variable("0", texts.number, _COUNT_OR_NONE, "requests under way at once", at_run_time=True)
    endpoint_max_inflight: int = _variable(
        "0", texts.number, _COUNT_OR_NONE, "requests under way at once to each endpoint", at_run_time=True
    )
    queue: int = _variable(
        "1024",
        texts.number,
        "a number",
        "requests that may wait at once where one of these is reached",
        at_run_time=True,
    )
    queue_timeout: float = _variable(
        "1", texts.duration_s, _SECONDS, "how long each of them may wait", at_run_time=True
    )
    hold_on_empty: float = _variable(
        "0",
        texts.duration_s,
        _SECONDS,
        "how long a call of a function without endpoints waits for some to come",
        at_run_time=True,
    )
    hold_limit: int = _variable(
        "1024", texts.number, "a number", "how many such calls may wait at once", at_run_time=True
    )
    request_header_timeout: float = _variable(
        "10", texts.duration_s, _SECONDS_OR_NONE, "for a request's head to arrive", at_run_time=True
    )
    keep_alive_timeout: float = _variable(
        "75", texts.duration_s, _SECONDS_OR_NONE, "for a client's next request", at_run_time=True
    )
    client_idle_timeout: float = _variable(
        "60", texts.duration_s, _SECONDS_OR_NONE, "for a client to send more of a body, or to read on", at_run_time=True
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Config:
        """Read all variables; an empty one counts as not set.

        Raises:
            ConfigError: one line for each variable that holds what it cannot; it says what the variable accepts.
        """
        values: dict[str, Any] = {}
        problems = []
        for variable in fields(cls):
            text = environ.get(PREFIX + variable.name, "")
            if not variable.metadata["is_secret"]:  # white space is part of a password
                text = text.strip()
            if not text and variable.name == "node_name":
                text = environ.get("HOSTNAME", "").strip() or socket.gethostname()
            try:
                values[variable.name] = _read(variable, text)
            except (ValueError, WeightsError):
                problems.append(f"{PREFIX}{variable.name} {_held(variable, text)}; it accepts {accepts(variable)}")
        problems += _conflicts(values)
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(**values)

    def lines(self) -> list[str]:
        """Return each variable with its resolved value, as an environment file would have it; a secret as `***`."""
        return [
            f"{PREFIX}{variable.name}={written(variable, getattr(self, variable.name))}" for variable in fields(Config)
        ]

    def variables(self) -> dict[str, str]:
        """Return all variables, for a process that is to have this very configuration; secrets included.

        The file that some of them may come from is not set: it may have changed since.
        """
        texts = {f"{PREFIX}{variable.name}": _text(getattr(self, variable.name)) for variable in fields(Config)}
        return texts | {f"{PREFIX}env_file": ""}


def accepts(variable: Attribute[Any]) -> str:
    """Return what a variable accepts, in words."""
    words = variable.metadata["accepts"]
    return str(words() if callable(words) else words)


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Return the `eb_go_lb_*` variables that golb does not know, each with the one that may have been meant."""
    known = [PREFIX + variable.name for variable in fields(Config)]
    found = sorted(name for name in environ if name.lower().startswith(PREFIX) and name not in known)
    return [(name, next(iter(difflib.get_close_matches(name.lower(), known, 1, 0.8)), None)) for name in found]


def _held(variable: Attribute[Any], text: str) -> str:
    if not text:
        return "is not set"
    return "is not what it should be" if variable.metadata["is_secret"] else f"is {_shown(text)}"


def _shown(text: str) -> str:
    if len(text) <= _SHOWN_CHARACTERS:
        return repr(text)
    return f"{text[:_SHOWN_CHARACTERS]!r}... ({len(text)} characters)"


def _read(variable: Attribute[Any], text: str) -> Any:
    default = variable.metadata["default"]
    if text:
        return variable.metadata["parse"](text)
    if default is REQUIRED:
        raise ValueError(text)
    return variable.metadata["parse"](default) if default or variable.name in _PARSED_EMPTY else None


def _conflicts(values: dict[str, Any]) -> list[str]:
    problems = _pair_problems(values, "tls_cert", "tls_key", "TLS")
    for name in ("tls_cert", "tls_key", "etcd_ca", "etcd_cert", "etcd_key", "etcd_password_file"):
        path = values.get(name)
        if path is not None and not _is_file(path):
            what = accepts(getattr(fields(Config), name))
            problems.append(f"{PREFIX}{name} is {_shown(str(path))}; it accepts {what}, and there is none")
    if values.get("weight_updater") == "file" and values.get("weights_file") is None:
        problems.append(f"{PREFIX}weights_file is not set; with weight updater file it accepts the path of a JSON file")
    named = {problem.split()[0] for problem in problems}
    return problems + [problem for problem in _etcd_problems(values) if problem.split()[0] not in named]


def _pair_problems(values: dict[str, Any], cert: str, key: str, purpose: str) -> list[str]:
    if (values.get(cert) is None) == (values.get(key) is None):
        return []
    missing, there = (key, cert) if values.get(key) is None else (cert, key)
    return [f"{PREFIX}{missing} is not set; {purpose} needs both it and {PREFIX}{there}"]


def _etcd_problems(values: dict[str, Any]) -> list[str]:
    problems = _pair_problems(values, "etcd_cert", "etcd_key", "a client's certificate")
    passwords = [name for name in ("etcd_password", "etcd_password_file") if values.get(name) is not None]
    if len(passwords) > 1:
        problems.append(f"{PREFIX}etcd_password is set, and {PREFIX}etcd_password_file too; etcd takes one password")
    if values.get("etcd_user") is None and passwords:
        problems.append(f"{PREFIX}etcd_user is not set; {PREFIX}{passwords[0]} needs it")
    if values.get("etcd_user") is not None and not passwords:
        problems.append(
            f"{PREFIX}etcd_password is not set, nor {PREFIX}etcd_password_file; {PREFIX}etcd_user needs one"
        )
    if not any(url.startswith("https:") for url in values.get("etcd_host", ("https:",))):
        # Whoever sets these believes that what golb and etcd say is encrypted.
        needless = [name for name in ("etcd_ca", "etcd_cert", "etcd_insecure_skip_verify") if values.get(name)]
        problems += [
            f"{PREFIX}{name} is set, but no entry of {PREFIX}etcd_host begins with https://" for name in needless
        ]
    return problems


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a directory on the way that golb may not enter, say
        return False


def written(variable: Attribute[Any], value: Any) -> str:
    """Write a value as the variable takes it; a secret as `***`."""
    return HIDDEN if variable.metadata["is_secret"] and value is not None else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(value)
    # A float without an exponent, which a duration does not take.
    return f"{Decimal(str(value)):f}".removesuffix(".0") if isinstance(value, float) else str(value)
