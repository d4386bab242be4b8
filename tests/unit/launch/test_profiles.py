"""Cluster profiles and the batch scripts they shape."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.batch import batch_script
from launch.machine import Machine
from launch.plan import make_plan
from launch.profiles import ClusterProfile, load_profile
from rankfold.errors import UserError


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / "config" / "launch" / "profiles" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_the_default_profile_asks_for_nothing_special() -> None:
    assert load_profile() == ClusterProfile()


def test_the_user_s_own_profile_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    file = write(tmp_path, "lab", "partition: a100\nsetup: [module load cuda]\n")
    expected = ClusterProfile(name="lab", partition="a100", setup=("module load cuda",))
    assert load_profile("lab") == load_profile(str(file)) == expected


def test_every_mistake_in_a_profile_is_told_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        "lab",
        "partion: a\ngpu_request: gpu\nsetup: ls\naccount: 7\nsbatch_options: {output: x, array: 1}\n",
    )
    with pytest.raises(UserError) as caught:
        load_profile("lab")
    message = str(caught.value)
    assert "unknown key 'partion'; did you mean partition?" in message
    assert "Allowed: partition, account, qos, constraint, gpu_request" in message
    assert "gpu_request is 'gpu'; allowed: gpus-per-node, gres" in message
    assert "setup is 'ls'; it must be a list of shell lines" in message
    assert "account is 7; it must be text" in message
    assert "sbatch_options.output is set by the plan" in message
    assert "sbatch_options.array is set by the plan" in message


def test_an_unknown_profile_lists_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, "lab", "")
    with pytest.raises(UserError, match=r"no cluster profile 'lap'; there are: default, lab"):
        load_profile("lap")


def script(make_recipe: Any, profile: ClusterProfile, folder: Path = Path("/runs/x")) -> list[str]:
    recipe = make_recipe(resources={"train": {"nodes": 2, "gpus_per_node": 4, "cpus_per_gpu": 6}})
    plan = make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)
    text = batch_script("small", plan.job("train"), profile, folder=folder, after_ids=["7", "8"])
    return text.splitlines()


def test_a_script_asks_for_gpus_a_node_and_hands_srun_its_cores(make_recipe: Any) -> None:
    lines = script(make_recipe, ClusterProfile())
    for expected in (
        "#SBATCH --job-name=small-train",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --gpus-per-node=4",
        "#SBATCH --cpus-per-task=6",
        "#SBATCH --dependency=afterok:7:8",
        "#SBATCH --kill-on-invalid-dep=yes",
        "export SRUN_CPUS_PER_TASK=6",
    ):
        assert expected in lines
    assert not any("--error" in line for line in lines)
    assert "--kill-on-bad-exit=1" in lines[-1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gpu_request": "gres"}, "#SBATCH --gres=gpu:4"),
        ({"gpu_request": "gres", "gpu_type": "a100"}, "#SBATCH --gres=gpu:a100:4"),
        ({"gpu_type": "h100"}, "#SBATCH --gpus-per-node=h100:4"),
        ({"sbatch_options": {"exclusive": True}}, "#SBATCH --exclusive"),
        ({"sbatch_options": {"--comment": "my 运行"}}, "#SBATCH --comment='my 运行'"),
        ({"partition": "a b"}, "#SBATCH --partition='a b'"),
        ({"account": "lab"}, "#SBATCH --account=lab"),
    ],
)
def test_a_profile_changes_how_the_cluster_is_asked(
    make_recipe: Any, change: dict[str, Any], expected: str
) -> None:
    assert expected in script(make_recipe, replace(ClusterProfile(), **change))


def test_a_setup_line_that_fails_ends_the_job(make_recipe: Any) -> None:
    lines = script(make_recipe, ClusterProfile(setup=("module load cuda",)))
    start = lines.index("set -o errexit")
    assert lines[start : start + 3] == ["set -o errexit", "module load cuda", "set +o errexit"]


def test_a_folder_with_a_space_and_chinese_is_quoted(make_recipe: Any) -> None:
    folder = Path("/my 运行/x")
    lines = script(make_recipe, ClusterProfile(), folder)
    assert lines[-1].endswith("-m submitit.core._submit '/my 运行/x'")
    assert "#SBATCH --output='/my 运行/x/%j_0_log.out'" in lines
