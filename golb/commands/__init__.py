"""`golb weights`: weights in etcd, seen and changed by people and scripts."""

from __future__ import annotations

from golb.commands.main import run_weights

__all__ = ["run_weights"]
