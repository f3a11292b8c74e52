"""What this process may use of the machine: cores and memory."""

import os
from pathlib import Path

import psutil

# Where Linux says how much memory a container may use, and how much it does: versions 2 and 1 of control groups.
CONTROL_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def core_count() -> int:
    """Physical cores this process may run on, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(allowed, psutil.cpu_count(logical=False) or allowed), 1)


def free_memory() -> int:
    """Bytes this process may still take: what the machine has free, or its container if that is less."""
    free = int(psutil.virtual_memory().available)
    for limit, used in CONTROL_GROUPS:
        try:
            free = min(free, max(int(limit.read_text()) - int(used.read_text()), 0))
        except (OSError, ValueError):  # no such version here, or "max": no limit
            continue
    return free
