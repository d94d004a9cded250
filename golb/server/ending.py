"""Whether connections go on. Asked with each response, so this stands by itself: it is compiled, what decides is not."""

from __future__ import annotations


class Ending:
    """Why a response that begins now would be its connection's last."""

    __slots__ = ("is_draining", "place_is_wanted")

    def __init__(self) -> None:
        self.is_draining = False
        """The server ends; set by it."""
        self.place_is_wanted = False
        """Somebody waits for a place; set by `golb.server.admission`."""

    def is_near(self) -> bool:
        """Tell whether it would."""
        return self.is_draining or self.place_is_wanted
