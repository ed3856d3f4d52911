"""Locks on open files, which the system itself takes back when their holder dies."""

from __future__ import annotations


def lock(descriptor: int, *, may_wait: bool = False) -> bool:
    """Lock a file exclusively until its descriptor is closed.

    Args:
        descriptor: of the open file.
        may_wait: whether to wait for another process that holds the lock.

    Returns:
        whether it is locked; False while another process holds it, and on disks without locks.
    """
    from filelock import lock_descriptor  # its import takes longer than most commands

    try:
        return lock_descriptor(descriptor, blocking=may_wait)
    except OSError:
        return False
