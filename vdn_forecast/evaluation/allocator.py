"""Large temporary tensors without page faults: keep freed memory in the process (glibc only)."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MMAP_THRESHOLD_MAX = 32 * 1024 * 1024  # glibc's own limit on 64 bits
_KEEP = 1 << 30


def keep_memory() -> bool:
    """Let malloc reuse freed blocks of up to 32 MB instead of returning them to the system at once.

    A training step of EVE allocates and frees megabytes over and over; without this, half of its time can go
    into page faults. Called by our runners only, never at import.

    Returns:
        Whether it took effect (not on systems without glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_MAX)
        and mallopt(_M_TRIM_THRESHOLD, _KEEP)
        and mallopt(_M_TOP_PAD, 64 * 1024 * 1024)
    )
