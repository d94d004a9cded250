"""Who answers a request: the handlers, and what one is."""

from golb.handlers.base import Handler, HandlerContext, Upstream
from golb.handlers.dummy import DummyHandler
from golb.handlers.wrr import WeightedRoundRobinHandler

__all__ = ["DummyHandler", "Handler", "HandlerContext", "Upstream", "WeightedRoundRobinHandler"]
