"""What joins the parts of golb to a service, supervises them, and ends them in order."""

from golb.service.single import serve

__all__ = ["serve"]
