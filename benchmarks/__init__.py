"""golb beside other proxies, all doing the same work on the same core: `python -m benchmarks`, or `make bench`."""
