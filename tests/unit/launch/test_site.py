"""What a cluster says of itself, read from recorded answers."""

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_sites import recorded, site

from launch.slurm.site import answer, gpus_of, minutes, parse_site, read_site
from rankfold.errors import OperationalError


def test_a_recorded_cluster_is_read_whole() -> None:
    dev = site("22.05")
    assert (dev.cluster, dev.version) == ("dev", "22.05.8")
    assert (dev.max_array_size, dev.max_job_count, dev.kill_wait_s) == (1001, 10_000, 2)
    assert dev.has_accounting
    assert dev.accounts == ("dev", "root")
    assert (dev.preempt_type, dev.preempt_mode) == ("partition_prio", "REQUEUE")
    assert dev.warns_before_preemption
    assert [partition.name for partition in dev.partitions] == ["main", "low", "high"]
    assert dev.default_partition is dev.partition("main")
    low = dev.partition("low")
    assert low is not None
    assert (low.max_time_min, low.max_nodes, low.grace_time_s, low.preempt_mode) == (None, None, 5, "REQUEUE")
    assert [(node.name, node.cpus, node.memory_mib, node.num_gpus) for node in low.nodes] == [
        ("node1", 4, 512_000, 2),
        ("node2", 4, 512_000, 2),
    ]
    assert [(node.usable, node.reason) for node in low.nodes] == [(True, ""), (False, "bad cable | port 3")]


def test_a_newer_cluster_with_mixed_nodes_and_limits_is_read_whole() -> None:
    alpine = site("24.05")
    assert (alpine.version, alpine.max_array_size) == ("24.05.2", 20_001)
    assert alpine.warns_before_preemption
    assert alpine.enforces == ("associations", "limits", "qos", "safe")
    assert alpine.accounts == ("lab", "students")
    gpu = alpine.partition("gpu")
    assert gpu is not None
    assert (gpu.max_time_min, gpu.max_nodes, gpu.max_cpus_per_node) == (750, 4, 48)
    assert gpu.max_memory_per_node_mib == 500_000
    assert (gpu.allow_accounts, gpu.allow_qos, gpu.deny_qos) == (("lab", "vision"), (), ("scavenge",))
    assert gpu.gpu_types == ("a100", "v100")
    assert [node.num_gpus for node in gpu.nodes] == [4, 4, 3, 3]
    assert [node.name for node in gpu.usable_nodes] == ["g01", "g02"]
    cpu = alpine.partition("cpu")
    assert cpu is not None
    assert cpu.max_time_min == 2880
    assert len(cpu.usable_nodes) == 3
    old = alpine.partition("old")
    assert old is not None
    assert (old.state, old.max_time_min, old.nodes) == ("INACTIVE", 90, ())


@pytest.mark.parametrize("signals", ["SlurmctldParameters = x", "PreemptParameters = (null)"])
def test_no_warning_is_expected_where_none_is_configured(signals: str) -> None:
    config = f"SLURM_VERSION = 23.11.1\n{signals}\nAccountingStorageType = accounting_storage/none\n"
    bare = parse_site(config, "", "")
    assert not bare.warns_before_preemption
    assert not bare.has_accounting
    assert bare.default_partition is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UNLIMITED", None),
        ("infinite", None),
        ("NONE", None),
        ("90", 90),
        ("30:00", 30),
        ("4:00:00", 240),
        ("2-00:00:00", 2880),
        ("2-12", 3600),
        ("1-06:30", 1830),
    ],
)
def test_a_time_limit_is_read_in_each_of_slurm_s_spellings(text: str, expected: int | None) -> None:
    assert minutes(text) == expected


@given(days=st.integers(0, 400), hours=st.integers(0, 23), mins=st.integers(0, 59))
def test_a_time_limit_with_days_loses_no_minute(days: int, hours: int, mins: int) -> None:
    assert minutes(f"{days}-{hours:02}:{mins:02}:00") == days * 1440 + hours * 60 + mins


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("(null)", ()),
        ("", ()),
        ("gpu:2", (("", 2),)),
        ("gpu", (("", 1),)),
        ("gpu:0", ()),
        ("gpu:a100:4(S:0-1)", (("a100", 4),)),
        ("gpu:a100:4(S:0,1),gpu:v100:2,nvme:1T", (("a100", 4), ("v100", 2))),
        ("gpu:v100:2(S:0),gpu:v100:1(S:1)", (("v100", 3),)),
        ("gpu:1g.5gb:7(S:0)", (("1g.5gb", 7),)),
        ("gpu:tesla:no_consume:4", (("tesla", 4),)),
        ("mps:400,shard:8", ()),
    ],
)
def test_gpus_are_counted_by_type(gres: str, expected: tuple[tuple[str, int], ...]) -> None:
    assert gpus_of(gres) == expected


def test_a_command_that_fails_or_hangs_is_told_in_its_own_words() -> None:
    with pytest.raises(OperationalError, match=r"ls does not answer: .*No such file"):
        answer(["ls", "/no/such/folder"])
    with pytest.raises(OperationalError, match="no-such-command does not answer"):
        answer(["no-such-command"])
    with pytest.raises(OperationalError, match="sleep does not answer"):
        answer(["sleep", "60"], timeout_s=0.05)


def test_what_a_user_set_for_sinfo_hides_no_part_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINFO_PARTITION", "gpu")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    seen = answer(["env"]).splitlines()
    assert "SINFO_PARTITION=gpu" not in seen
    assert "SLURM_CONF=/etc/slurm.conf" in seen


def test_a_site_without_an_answering_sacctmgr_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"config": "config", "partition": "partitions", "--Node": "nodes"}

    def fake(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        for word, name in answers.items():
            if word in command:
                return subprocess.CompletedProcess(command, 0, recorded("22.05", name), "")
        return subprocess.CompletedProcess(
            command, 1, "", "You are not running a supported accounting_storage"
        )

    monkeypatch.setattr("launch.slurm.site.subprocess.run", fake)
    monkeypatch.setattr("launch.slurm.site.shutil.which", lambda name: f"/usr/bin/{name}")
    read = read_site("me")
    assert read.accounts == ()
    assert len(read.partitions) == 3
