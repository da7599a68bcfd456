"""A cluster of two nodes on this machine, each a raylet of its own, and what runs on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Number of nodes; each has its share of the CPUs that the replicas ask for.
NODES = 2


@contextlib.contextmanager
def cluster(replicas: int) -> Iterator[Any]:
    """A cluster of NODES nodes with room for so many replicas, as Ray's own tests have it: it has an `address`."""
    from ray.cluster_utils import Cluster

    each = -(-replicas // NODES)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": each, "include_dashboard": False})
    try:
        for _ in range(NODES - 1):
            nodes.add_node(num_cpus=each)
        yield nodes
    finally:
        nodes.shutdown()


def replica_processes() -> list[int]:
    """The processes of replicas on this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"ServeReplica:" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
