"""How a new golb takes the place of a running one: it gets the listening sockets, and nobody finds the port closed.

    new                                   old
     | ---------- {"take": ...} ---------> |      over a socket pair, if the old one has started the new one,
     | <--- {"sockets": ...}, {"all": } -- |      or over a socket in the abstract namespace that the old one offers
     |  loads its table                    |  serves
     | ---------- {"ready": ...} --------> |
     |                                     |  stops accepting; what comes now waits in the sockets
     | <--------- {"yours": ...} --------- |
     |  serves                             |  drains

If the new one ends before it is ready, the old one goes on as if nothing had been. If the old one ends, or hangs when
it has given its sockets, the new one serves as soon as it can. If the old one refuses, it says why, and the new one
ends. If the new one ends later than it was ready, there is no way back: the old one drains and ends too. A container's
first process ends last all the same: `FirstProcess`.
"""

from golb.takeover.first_process import FirstProcess
from golb.takeover.giving import Giver, offer, start_successor
from golb.takeover.meeting import INHERITED
from golb.takeover.taking import NOTHING_TAKEN, Taken, take_over

__all__ = ["INHERITED", "NOTHING_TAKEN", "FirstProcess", "Giver", "Taken", "offer", "start_successor", "take_over"]
