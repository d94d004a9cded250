"""What mypyc, which compiles a part of golb (pyproject.toml), is told, and what must be beside that part.

This module must not be compiled itself: of its branches mypyc takes the one for type checkers, and `rooted` would be none.

Rule for what is compiled: no handler of an exception and no `finally` waits. While a compiled coroutine waits, the
exception that it handles stays with whoever resumes it, where other coroutines find it, and a `raise` without a name
raises the wrong one. `async with` is such a handler, so a coroutine that has one is called by one that is not compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_: bool) -> Any:
        """Leave a class as it is. As golb runs, `mypy_extensions` would be one more dependency."""
        return lambda cls: cls


T_co = TypeVar("T_co", covariant=True)


async def rooted(coroutine: Coroutine[object, object, T_co]) -> T_co:
    """Give a coroutine a root that is not compiled, which keeps the exception that is handled while it waits.

    Without one, whoever resumes it would have it: the poller, whose caller would show it to all the others.
    """
    return await coroutine


__all__ = ["mypyc_attr", "rooted"]
