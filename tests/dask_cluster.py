"""A real Dask cluster on this machine, as the executor of a fleet."""

from __future__ import annotations

from typing import Any

from distributed import Client, LocalCluster


def executor() -> Any:
    """Two worker processes behind one scheduler."""
    cluster_type: Any = LocalCluster
    client_type: Any = Client
    cluster = cluster_type(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    return client_type(cluster).get_executor()
