"""What of a changed configuration is taken over, what needs a restart, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import fields
from structlog.testing import capture_logs
from support.stack import make_config

from golb.config import Config
from golb.env_file import with_env_file
from golb.errors import ConfigError
from golb.service.reload import Reloading, compare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PEM = __file__  # a file is all that a configuration asks for


def test_what_can_change_at_run_time_is_taken_and_shown_with_its_old_and_new_value() -> None:
    before = make_config(gateways="10.0.3.1", drain_timeout="10")
    wanted = make_config(gateways="10.0.3.1 10.0.4.1:8080", drain_timeout="1m", failover="off")
    reloaded = compare(before, wanted)
    assert reloaded.config == wanted
    assert set(reloaded.taken) == {
        "eb_go_lb_gateways=10.0.3.1->10.0.3.1 10.0.4.1:8080",
        "eb_go_lb_drain_timeout=10->60",
        "eb_go_lb_failover=on->off",
    }
    assert reloaded.needs_restart == ()


def test_what_needs_a_restart_stays_as_it_was_and_is_named_each_time() -> None:
    before = make_config(queue="5")
    wanted = make_config(queue="6", zone="zone-b", etcd_user="golb", etcd_password="s3cret")
    for taken in (("eb_go_lb_queue=5->6",), ()):
        reloaded = compare(before, wanted)
        assert reloaded.taken == taken
        assert reloaded.needs_restart == ("eb_go_lb_zone", "eb_go_lb_etcd_user", "eb_go_lb_etcd_password")
        assert (reloaded.config.zone, reloaded.config.queue, reloaded.config.etcd_password) == ("zone-a", 6, None)
        before = reloaded.config


def test_equal_configurations_have_no_difference() -> None:
    config = make_config(target_networks="10.42.0.0/16", gateways="10.0.3.1")
    reloaded = compare(config, make_config(target_networks="10.42.0.0/16", gateways="10.0.3.1"))
    assert (reloaded.config, reloaded.taken, reloaded.needs_restart) == (config, (), ())


def test_another_certificate_is_taken_but_https_begins_and_ends_by_a_restart(tmp_path: Path) -> None:
    other = tmp_path / "cert.pem"
    other.touch()
    http, https = make_config(), make_config(tls_cert=PEM, tls_key=PEM)
    renewed = make_config(tls_cert=str(other), tls_key=PEM)
    assert compare(https, renewed).taken == (f"eb_go_lb_tls_cert={PEM}->{other}",)
    for before, wanted in ((http, https), (https, http)):
        reloaded = compare(before, wanted)
        assert reloaded.config == before
        assert reloaded.needs_restart == ("eb_go_lb_tls_cert", "eb_go_lb_tls_key")


def test_no_secret_can_change_at_run_time_so_none_is_ever_shown() -> None:
    variables = fields(Config)
    assert any(each.metadata["is_secret"] for each in variables)
    assert not [each.name for each in variables if each.metadata["is_secret"] and each.metadata["at_run_time"]]


class Around:
    """A configuration in force, the file that it came from, and what is put in force instead."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "golb.env"
        self.write("eb_go_lb_queue=5")
        self.environ = {"eb_go_lb_zone": "zone-a", "eb_go_lb_node_name": "eb-a", "eb_go_lb_env_file": str(self.file)}
        self.before = Config.from_environ(with_env_file(self.environ))
        self.applied: list[Config] = []
        self.refusal: Exception | None = None
        self.reloading = Reloading(self.before, self.environ, self._apply)

    def write(self, *lines: str) -> None:
        self.file.write_text("\n".join(lines))

    async def reload(self) -> Sequence[Any]:
        """Return what is logged of it."""
        with capture_logs() as logs:
            await self.reloading.reload()
        return logs

    async def _apply(self, config: Config) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.applied.append(config)


async def test_a_changed_file_is_put_in_force_and_told_of(tmp_path: Path) -> None:
    around = Around(tmp_path)
    around.write("eb_go_lb_queue=6", "eb_go_lb_quue=7")
    unknown, told = await around.reload()
    assert [config.queue for config in around.applied] == [6]
    assert around.reloading.config is around.applied[0]
    assert (unknown["event"], unknown["variable"]) == ("unknown variable", "eb_go_lb_quue")
    assert unknown["did_you_mean"] == "eb_go_lb_queue"
    assert (told["event"], told["log_level"], told["taken"]) == ("reloaded", "info", ["eb_go_lb_queue=5->6"])


async def test_a_change_that_needs_a_restart_is_a_warning(tmp_path: Path) -> None:
    around = Around(tmp_path)
    around.write("eb_go_lb_queue=5", "eb_go_lb_listen_port=9000")
    (told,) = await around.reload()
    assert (told["log_level"], told["taken"], told["needs_restart"]) == ("warning", [], ["eb_go_lb_listen_port"])


async def test_where_no_variable_has_changed_all_is_put_in_force_again_as_certificates_may_have(tmp_path: Path) -> None:
    around = Around(tmp_path)
    (told,) = await around.reload()
    assert told["event"] == "reloaded, no variable has changed"
    assert around.applied == [around.before]


async def test_a_file_that_is_wrong_in_part_changes_nothing_and_each_problem_is_told(tmp_path: Path) -> None:
    around = Around(tmp_path)
    around.write("eb_go_lb_queue=6", "eb_go_lb_mode=x", "eb_go_lb_rest_max=never")
    (told,) = await around.reload()
    assert told["log_level"] == "warning"
    assert [line.split()[0] for line in told["problems"]] == ["eb_go_lb_mode", "eb_go_lb_rest_max"]
    assert (around.applied, around.reloading.config) == ([], around.before)


async def test_a_file_that_has_gone_changes_nothing(tmp_path: Path) -> None:
    around = Around(tmp_path)
    around.file.unlink()
    (told,) = await around.reload()
    assert [line.split()[0] for line in told["problems"]] == ["eb_go_lb_env_file"]
    assert around.reloading.config is around.before


@pytest.mark.parametrize("refusal", [ConfigError("eb_go_lb_tls_cert is none"), ValueError("a defect")])
async def test_what_cannot_be_put_in_force_is_tried_again_whole_the_next_time(
    tmp_path: Path, refusal: Exception
) -> None:
    around = Around(tmp_path)
    around.write("eb_go_lb_queue=6")
    around.refusal = refusal
    (told,) = await around.reload()
    assert told["log_level"] in ("warning", "error")
    assert around.reloading.config is around.before
    around.refusal = None
    (told,) = await around.reload()
    assert told["taken"] == ["eb_go_lb_queue=5->6"]
