"""Commands for people and scripts: `golb weights` sees and changes weights in etcd, `golb doctor` looks at a set-up."""

from __future__ import annotations

from golb.commands.main import run_command

__all__ = ["run_command"]
