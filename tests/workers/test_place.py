"""What a worker is told at its start, and what it inherits."""

from __future__ import annotations

import os
import socket

import pytest
from attrs import evolve

from golb.errors import ConfigError
from golb.workers.place import VARIABLE, Place, create_counts, map_counts, open_descriptor

PLACE = Place(index=1, of=2, link=9, listeners=(10, 11), inbox=12, outboxes=(13, 14), counts=15)


def test_a_process_finds_its_place_in_its_environment() -> None:
    assert Place.from_environ({"HOME": "/", **PLACE.variables()}) == PLACE


def test_a_process_without_the_variable_is_no_worker() -> None:
    assert Place.from_environ({"HOME": "/"}) is None
    assert Place.from_environ({VARIABLE: ""}) is None


def test_a_place_names_all_that_is_inherited() -> None:
    assert sorted(PLACE.descriptors) == list(range(9, 16))


def test_an_inherited_socket_goes_no_further_and_does_not_block() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.set_inheritable(True)
        with open_descriptor(theirs.detach()) as opened:
            assert not opened.get_inheritable()
            assert opened.getblocking() is False
            assert opened.family == socket.AF_UNIX


def test_counts_are_shared_by_all_that_map_them() -> None:
    descriptor = create_counts(3)
    try:
        assert not os.get_inheritable(descriptor)
        os.set_inheritable(descriptor, True)  # as in a worker
        one, other = map_counts(descriptor), map_counts(descriptor)
        assert list(one) == [0, 0, 0]
        one[1] = -7
        assert list(other) == [0, -7, 0]
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_a_worker_of_another_version_does_not_serve() -> None:
    variables = evolve(PLACE, version="0.0.0").variables()
    with pytest.raises(ConfigError, match=r"its parent 0\.0\.0: golb was upgraded while it ran; SIGUSR2"):
        Place.from_environ(variables)
