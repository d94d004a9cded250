"""Who waits in the poller's line, and whose turn comes when: real sockets, and pollables that write down what they are told."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from support.diary import Diary, inputs, socket_pair, until_told

if TYPE_CHECKING:
    from golb.poller import Poller


async def test_an_endpoint_is_heard_before_clients_that_came_earlier(poller: Poller) -> None:
    entries: list[str] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(socket_pair()) for _ in range(41)]
        *clients, endpoint = pairs
        for ours, _ in clients:
            poller.add(ours, Diary(entries, "client "), gives_way=True)
        poller.add(endpoint[0], Diary(entries, "endpoint "))
        await until_told(entries, "output", 41)
        entries.clear()
        for _, theirs in pairs:
            theirs.send(b"x")
        await until_told(entries, "input", 41)
        assert inputs(entries) == ["endpoint "] + ["client "] * 40
        for ours, _ in pairs:
            poller.remove(ours)


async def test_the_answer_to_one_client_comes_before_the_requests_of_later_ones(poller: Poller) -> None:
    entries: list[str] = []
    with ExitStack() as stack:
        clients = [stack.enter_context(socket_pair()) for _ in range(40)]
        endpoint, endpoints_own = stack.enter_context(socket_pair())
        for number, (ours, _) in enumerate(clients):

            def ask(number: int = number) -> None:
                if number == 0:
                    endpoints_own.send(b"answer")

            poller.add(ours, Diary(entries, f"{number} ", on_input=ask), gives_way=True)
        poller.add(endpoint, Diary(entries, "endpoint "))
        await until_told(entries, "output", 41)
        entries.clear()
        for _, theirs in clients:
            theirs.send(b"x")
        await until_told(entries, "input", 41)
        names = [f"{number} " for number in range(40)]
        assert inputs(entries) == [*names[:16], "endpoint ", *names[16:]]
        for ours, _ in [*clients, (endpoint, None)]:
            poller.remove(ours)


async def test_who_gives_way_may_change(poller: Poller) -> None:
    entries: list[str] = []
    with socket_pair() as first, socket_pair() as second:
        watches = [
            poller.add(first[0], Diary(entries, "first ")),
            poller.add(second[0], Diary(entries, "second "), gives_way=True),
        ]
        await until_told(entries, "output", 2)
        for _ in range(2):
            entries.clear()
            for _, theirs in (second, first):
                theirs.send(b"x")
            await until_told(entries, "input", 2)
            ahead, behind = ("first ", "second ") if watches[1].gives_way else ("second ", "first ")
            assert inputs(entries) == [ahead, behind]
            for watch in watches:
                watch.gives_way = not watch.gives_way
        poller.remove(first[0])
        poller.remove(second[0])


async def test_a_client_is_in_line_once_however_much_it_sends_meanwhile(poller: Poller) -> None:
    entries: list[str] = []
    in_line: list[int] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(socket_pair()) for _ in range(40)]
        last, lasts_peer = pairs[-1]

        def send_more() -> None:
            lasts_peer.send(b"y")
            in_line.append(len(poller._line))  # noqa: SLF001 - it shows in nothing but memory

        for place, (ours, _) in enumerate(pairs):
            on_input = send_more if place in (0, 16, 32) else (lambda: None)
            poller.add(ours, Diary(entries, f"{place} ", on_input=on_input), gives_way=True)
        await until_told(entries, "output", 40)
        entries.clear()
        for _, theirs in pairs:
            theirs.send(b"x")
        await until_told(entries, "input", 40)
        assert in_line == [39, 23, 7]
        assert inputs(entries) == [f"{place} " for place in range(40)]
        assert not any(entry.endswith("ended") for entry in entries)
        assert last.recv(10) == b"xyyy"
        for ours, _ in pairs:
            poller.remove(ours)


async def test_who_is_removed_takes_no_turn_of_those_behind(poller: Poller) -> None:
    entries: list[str] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(socket_pair()) for _ in range(40)]
        endpoint, endpoints_own = stack.enter_context(socket_pair())

        def remove_twenty() -> None:
            for ours, _ in pairs[1:21]:
                poller.remove(ours)
            endpoints_own.send(b"x")

        for place, (ours, _) in enumerate(pairs):
            on_input = remove_twenty if place == 0 else (lambda: None)
            poller.add(ours, Diary(entries, f"{place} ", on_input=on_input), gives_way=True)
        poller.add(endpoint, Diary(entries, "endpoint "))
        await until_told(entries, "output", 41)
        entries.clear()
        for _, theirs in pairs:
            theirs.send(b"x")
        await until_told(entries, "input", 21)
        assert inputs(entries) == [f"{place} " for place in (0, *range(21, 36))] + [
            "endpoint ",
            *(f"{place} " for place in range(36, 40)),
        ]
        for ours, _ in [pairs[0], *pairs[21:], (endpoint, None)]:
            poller.remove(ours)


async def test_the_last_in_line_is_told_though_nothing_else_happens(poller: Poller) -> None:
    entries: list[str] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(socket_pair()) for _ in range(40)]
        last = Diary()
        for place, (ours, _) in enumerate(pairs):
            poller.add(ours, Diary(entries) if place < 39 else last, gives_way=True)
        await until_told(entries, "output", 39)
        for _, theirs in pairs:
            theirs.send(b"x")
        await last.until("input")
        assert len(inputs(entries)) == 39
        for ours, _ in pairs:
            poller.remove(ours)


async def test_a_client_that_is_removed_while_it_is_in_line_is_not_told_nor_is_who_has_its_descriptor(
    poller: Poller,
) -> None:
    entries: list[str] = []
    with ExitStack() as stack:
        others = [stack.enter_context(socket_pair()) for _ in range(20)]
        gone, gones_peer = socket.socketpair()
        stack.enter_context(gones_peer)
        followed, followeds_peer = socket.socketpair()
        stack.enter_context(followeds_peer)
        number = followed.fileno()
        new, news_peer = stack.enter_context(socket_pair())

        def replace() -> None:
            for ours in (gone, followed):
                poller.remove(ours)
                ours.close()
            os.dup2(new.fileno(), number)
            poller.add(stack.enter_context(socket.socket(fileno=number)), Diary(entries, "new "), gives_way=True)

        for place, (ours, _) in enumerate(others):
            on_input = replace if place == 0 else (lambda: None)
            poller.add(ours, Diary(entries, "other ", on_input=on_input), gives_way=True)
        poller.add(gone, Diary(entries, "gone "), gives_way=True)
        poller.add(followed, Diary(entries, "followed "), gives_way=True)
        await until_told(entries, "output", 22)
        entries.clear()
        for _, theirs in [*others, (None, gones_peer), (None, followeds_peer)]:
            theirs.send(b"x")
        await until_told(entries, "input", 20)
        assert inputs(entries) == ["other "] * 20
        news_peer.send(b"x")
        await until_told(entries, "input", 21)
        assert inputs(entries)[20:] == ["new "]
        for ours, _ in others:
            poller.remove(ours)
