"""A client of the etcd that the configuration names."""

from __future__ import annotations

from random import randrange
from typing import TYPE_CHECKING

from golb.trio_etcd import EtcdClient, TlsFiles

if TYPE_CHECKING:
    from golb.config import Config

_MAX_DIAL_S = 1.0


def make_client(config: Config) -> EtcdClient:
    """Return a client that goes from one member to the next within `eb_go_lb_etcd_timeout`; it starts at a random one.

    Raises:
        ValueError: a host is none.
    """
    hosts = config.etcd_host
    start = randrange(len(hosts))  # noqa: S311 - no secret
    timeout_s = config.etcd_timeout
    return EtcdClient(
        hosts[start:] + hosts[:start],
        user=config.etcd_user,
        password=config.etcd_password_file or config.etcd_password,
        tls=TlsFiles(
            ca_file=config.etcd_ca,
            cert_file=config.etcd_cert,
            key_file=config.etcd_key,
            verify=not config.etcd_insecure_skip_verify,
        ),
        # Whoever waits longer for a connection sits in the pauses of TCP, which double, when the way is open again.
        dial_timeout_s=min(timeout_s / 5, _MAX_DIAL_S),
        # A member that accepts connections and then says nothing leaves time to ask another one.
        request_timeout_s=timeout_s / 3 if len(hosts) > 1 else timeout_s,
        peer_timeout_s=timeout_s,
    )
