"""The access log: one line for each call, written where no call waits for it."""

from golb.access_log.lines import FORMS
from golb.access_log.log import AccessLog
from golb.calls import CallRecord

__all__ = ["FORMS", "AccessLog", "CallRecord"]
