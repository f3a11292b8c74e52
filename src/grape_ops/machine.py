"""What this process may use of the machine."""

import os

import psutil


def core_count() -> int:
    """Physical cores this process may run on, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(allowed, psutil.cpu_count(logical=False) or allowed), 1)
