"""A real Slurm for tests: one of two nodes in each test process, started when a test first asks for it.

`from clusters import Cluster` names the type of what the fixtures give.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from clusters import Cluster, MakeCluster, devcluster, environment_of
from conftest import skip_unless_ci

CANNOT_RUN_HERE = 69


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; this hook is called with those of other folders, too."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def start_cluster() -> Iterator[MakeCluster]:
    """Start a cluster with options of `devcluster up`; all are down at the end, or when pytest is killed."""
    numbers, names = count(1), list[str]()

    def start(*options: str) -> Cluster:
        name = f"pytest-{os.getpid()}-{next(numbers)}"
        names.append(name)
        done = devcluster("up", name, "--with-pid", str(os.getpid()), *options)
        if done.returncode == CANNOT_RUN_HERE:
            names.remove(name)
            skip_unless_ci(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        return Cluster(name, environment_of(name))

    yield start
    for name in names:
        assert devcluster("down", name).returncode == 0


@pytest.fixture
def make_cluster(start_cluster: MakeCluster) -> Iterator[MakeCluster]:
    """A cluster for one test only, with options of `devcluster up`."""
    made = list[Cluster]()

    def make(*options: str) -> Cluster:
        made.append(start_cluster(*options))
        return made[-1]

    yield make
    for cluster in made:
        assert devcluster("down", cluster.name).returncode == 0


@pytest.fixture(scope="session")
def _cluster(start_cluster: MakeCluster) -> Cluster:
    return start_cluster("--slurm-conf", "PartitionName=short Nodes=ALL MaxTime=2 PriorityTier=10")


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    """Two nodes of 4 CPUs and 2 stand-in GPUs, with accounting; a partition `short` allows 2 minutes."""
    yield _cluster
    _cluster.cancel_everything()


@pytest.fixture(scope="session")
def _cluster_without_accounting(start_cluster: MakeCluster) -> Cluster:
    return start_cluster("--no-accounting")


@pytest.fixture
def cluster_without_accounting(_cluster_without_accounting: Cluster) -> Iterator[Cluster]:
    """The same where sacct is disabled, as on many sites."""
    yield _cluster_without_accounting
    _cluster_without_accounting.cancel_everything()
