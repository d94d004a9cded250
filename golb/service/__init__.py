"""What joins the parts of golb to a service, supervises them, and ends them in order."""

from golb.service.reload import warn_of_unknown
from golb.service.start import serve

__all__ = ["serve", "warn_of_unknown"]
