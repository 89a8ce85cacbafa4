"""What this machine has."""

import os


def free_memory() -> int:
    """Bytes of memory that are free; practically endless where no one tells."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system tells
        return 2**62
