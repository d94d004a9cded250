"""What golb tells of itself: health, metrics, status, events, and a page that shows them; it changes nothing."""

from golb.admin.events import EventFeed
from golb.admin.guard import is_loopback
from golb.admin.listening import MAX_CONNECTIONS, admin_application, admin_config
from golb.admin.news import News
from golb.admin.own_process import OwnFunctions, own_connections
from golb.admin.sources import Sources

__all__ = [
    "MAX_CONNECTIONS",
    "EventFeed",
    "News",
    "OwnFunctions",
    "Sources",
    "admin_application",
    "admin_config",
    "is_loopback",
    "own_connections",
]
