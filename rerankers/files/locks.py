"""Exclusive locks on open files, which the system releases when their holder dies."""

from __future__ import annotations


def lock(descriptor: int, *, may_wait: bool = False) -> bool:
    """Lock an open file exclusively until its descriptor is closed.

    Args:
        descriptor: of the open file.
        may_wait: whether to wait for another process that holds the lock.

    Returns:
        Whether the file is locked; False while another process holds the lock, and on disks without locks.
    """
    from filelock import lock_descriptor  # its import takes longer than most commands

    try:
        return lock_descriptor(descriptor, blocking=may_wait)
    except OSError:
        return False
