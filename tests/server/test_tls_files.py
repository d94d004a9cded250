"""TLS files that are not what they should be: golb says which of them is wrong, and why, and waits for nobody."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.stack import make_config
from support.tls import make_tls_files

from golb.errors import ConfigError
from golb.server.tls import make_ssl_context

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 30


def another_key(folder: Path) -> bytes:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    make_tls_files(elsewhere)
    return (elsewhere / "key.pem").read_bytes()


def encrypted(key: bytes, form: PrivateFormat) -> bytes:
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ("no certificate", "the first holds no certificate"),
        ("empty certificate", "the first holds no certificate"),
        ("swapped", "the first holds no certificate"),
        ("no key", "the second holds no private key"),
        ("another key", "the key belongs to another certificate"),
        ("encrypted", "the key is encrypted, and golb has no password for it"),
        ("encrypted as of old", "the key is encrypted, and golb has no password for it"),
        ("half a certificate", "OpenSSL says: "),
        ("unreadable", "cannot be read: Is a directory"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(tmp_path: Path, case: str, fault: str) -> None:
    config = make_config(**make_tls_files(tmp_path).variables)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    good = key.read_bytes()
    match case:
        case "no certificate":
            cert.write_text("none")
        case "empty certificate":
            cert.write_text("")
        case "swapped":
            cert.rename(tmp_path / "other.pem")
            key.rename(cert)
            (tmp_path / "other.pem").rename(key)
        case "no key":
            key.write_text("none")
        case "another key":
            key.write_bytes(another_key(tmp_path))
        case "encrypted":
            key.write_bytes(encrypted(good, PrivateFormat.PKCS8))
        case "encrypted as of old":
            key.write_bytes(encrypted(good, PrivateFormat.TraditionalOpenSSL))
        case "half a certificate":
            cert.write_bytes(cert.read_bytes()[:300])
        case "unreadable":
            cert.unlink()
            cert.mkdir()
    with pytest.raises(ConfigError, match=f"eb_go_lb_tls_cert is .*, but .*{fault}"):
        make_ssl_context(config)


def test_nobody_is_asked_for_the_password_of_a_key(tmp_path: Path) -> None:
    variables = make_tls_files(tmp_path).variables
    key = tmp_path / "key.pem"
    key.write_bytes(encrypted(key.read_bytes(), PrivateFormat.PKCS8))
    environ = {name: text for name, text in os.environ.items() if not name.startswith("eb_go_lb_")}
    environ |= {"eb_go_lb_zone": "zone-a", **{f"eb_go_lb_{name}": text for name, text in variables.items()}}
    ours, terminal = pty.openpty()
    try:
        # A session of its own, whose terminal this becomes as the first one that is opened there.
        golb = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, os.ttyname(terminal)], env=environ, start_new_session=True
        )
        try:
            assert golb.wait(TIMEOUT_S) == 2
        finally:
            golb.kill()
            golb.wait()
    finally:
        os.close(ours)
        os.close(terminal)


_IN_TERMINAL = """
import os, sys
terminal = os.open(sys.argv[1], os.O_RDWR)
for descriptor in range(3):
    os.dup2(terminal, descriptor)
os.execv(sys.executable, [sys.executable, "-m", "golb"])
"""
