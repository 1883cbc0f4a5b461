"""How much memory this process may have: what its container is given."""

import math
from pathlib import Path

FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # cgroup v2, v1
UNLIMITED = 1 << 60  # v1 says "no limit" as a number of this size


def memory_limit(files: tuple[Path, ...] = FILES) -> float:
    """Bytes; infinite where nothing limits it, or nothing says so."""
    for file in files:
        try:
            said = file.read_text().strip()
        except OSError:
            continue
        return int(said) if said.isdecimal() and int(said) < UNLIMITED else math.inf
    return math.inf
