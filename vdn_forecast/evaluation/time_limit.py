"""A limit on what one block of code may take, in this process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 5.0  # seconds; an exception raised inside a destructor or a C callback is swallowed there


class TimeLimitExceeded(BaseException):
    """The limit is over. No `Exception`: a library that handles any error must not take this for one."""


def can_limit_time() -> bool:
    """Whether this thread of this system can be interrupted: the main one, where the system has alarm signals."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `TimeLimitExceeded` in the block once it has run for so long; None for no limit.

    By an alarm signal, so a single call into compiled code ends first. A worker process is killed instead, at once.

    Raises:
        RuntimeError: this thread cannot be interrupted, see `can_limit_time`.
    """
    if seconds is None:
        yield
        return
    if not can_limit_time():
        raise RuntimeError("a time limit needs the main thread of a system with alarm signals; use worker processes")

    def over(_number: int, _frame: FrameType | None) -> None:
        raise TimeLimitExceeded

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
