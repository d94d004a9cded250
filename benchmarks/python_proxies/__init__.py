"""Proxies in Python, as programs. They import little of the benchmark: what they hold in memory is theirs."""
