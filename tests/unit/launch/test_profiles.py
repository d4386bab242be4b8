"""Cluster profiles: what they may say, what is wrong with one, what a stage makes of it."""

import json
from pathlib import Path

import pytest

from launch.profiles.profile import PACKAGED, ClusterProfile, load_profile
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


EVERYTHING = """\
partition: gpu
account: lab
qos: long
constraint: a100&ib
reservation: course
exclusive: true
gpu_request: gres
gpu_type: a100
gpu_memory_gb: 40
max_array_size: 5000
signal_delay_s: 300
environment: {NCCL_SOCKET_IFNAME: ib0, OMP_NUM_THREADS: 8, HF_TOKEN_PATH: /home/me/token}
setup: [module load cuda/12.6, 'export HF_TOKEN=$(cat ~/.token)', 'export TOKENIZERS_PARALLELISM=false']
container: apptainer exec --nv "/images/my image.sif"
scratch: /scratch/$SLURM_JOB_ID
sbatch_options: {mail-type: FAIL, "--nice": 5, exclude: node7, licenses: x}
stages:
  prepare: {partition: cpu, exclusive: false, constraint: , sbatch_options: {exclude: false, "nice": 0}}
  merge:
"""


def test_a_profile_says_everything_that_clusters_differ_in(tmp_path: Path) -> None:
    write(tmp_path, "lab", EVERYTHING)
    profile = load_profile("lab")
    assert (profile.exclusive, profile.max_array_size, profile.signal_delay_s) == (True, 5000, 300)
    assert profile.gpu_memory_gb == 40
    assert profile.environment == {
        "NCCL_SOCKET_IFNAME": "ib0",
        "OMP_NUM_THREADS": "8",
        "HF_TOKEN_PATH": "/home/me/token",
    }
    assert len(profile.setup) == 3
    assert profile.container == 'apptainer exec --nv "/images/my image.sif"'
    assert profile.stages.keys() == {"prepare"}


def test_a_stage_overrides_what_it_names_and_an_empty_key_takes_away(tmp_path: Path) -> None:
    write(tmp_path, "lab", EVERYTHING)
    prepare = load_profile("lab").for_stage("prepare")
    assert (prepare.partition, prepare.account, prepare.constraint) == ("cpu", "lab", None)
    assert prepare.exclusive is False
    assert prepare.sbatch_options == {
        "mail-type": "FAIL",
        "--nice": 5,
        "exclude": False,
        "licenses": "x",
        "nice": 0,
    }
    train = load_profile("lab").for_stage("train")
    assert (train.partition, train.exclusive, train.stages) == ("gpu", True, {})


def test_a_profile_in_a_run_s_folder_is_the_profile_it_was(tmp_path: Path) -> None:
    write(tmp_path, "lab", EVERYTHING)
    profile = load_profile("lab")
    assert ClusterProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def mistakes(tmp_path: Path, text: str) -> list[str]:
    """What is said about each mistake, from the line's number on."""
    file = write(tmp_path, "lab", text)
    with pytest.raises(UserError) as caught:
        load_profile("lab")
    lines = (line.strip() for line in str(caught.value).splitlines())
    return [line.removeprefix(f"{file}:") for line in lines if line.startswith(f"{file}:")]


def test_every_mistake_in_a_profile_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
partion: a
gpu_request: gpu
setup: ls
account: 7
exclusive: "yes"
max_array_size: 0
gpu_memory_gb: big
signal_delay_s: 70000
container: apptainer "exec
scratch: tmp
stages:
  tain: {partition: x}
  train: {setup: [ls]}
"""
    assert mistakes(tmp_path, text) == [
        "1: partion: unknown key; did you mean partition?",
        '2: gpu_request: must be gpus-per-node or gres; found "gpu"',
        '3: setup: must be a list of shell lines; found "ls"',
        '4: account: must be text; put it in quotes: "7"',
        '5: exclusive: must be true or false; found "yes"',
        "6: max_array_size: must be a whole number of at least 1; found 0",
        '7: gpu_memory_gb: must be a number above 0; found "big"',
        "8: signal_delay_s: must be a whole number from 1 to 65535; found 70000",
        '9: container: is no shell command: No closing quotation; found "apptainer \\"exec"',
        "10: scratch: must be an absolute folder, or start with a variable, such as /tmp/$SLURM_JOB_ID; "
        'found "tmp"',
        "12: stages.tain: unknown key; did you mean train?",
        "13: stages.train.setup: unknown key; allowed: partition, account, qos, constraint, reservation, "
        "exclusive, sbatch_options",
    ]


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("output: x", "the run's folder keeps the output"),
        ('"--array": 1-4', "set for every job of a run"),
        ("job_name: x", "set for every job of a run"),
        ("signal: TERM", "signal_delay_s"),
        ("mem: 4G", "memory_gb"),
        ("partition: x", "as a key of the profile"),
        ("exclusive: true", "as a key of the profile"),
        ("export: NONE", "environment: adds to it"),
        ("gres: 'gpu:2'", "gpus_per_node"),
        ("p: main", "must have its long name, partition"),
        ("Mail: x", "no option of sbatch"),
        ('comment: "two\\nlines"', "one line without control characters"),
        ("comment: 1.5", "put it in quotes"),
    ],
)
def test_options_that_the_plan_sets_are_refused_with_the_reason(
    tmp_path: Path, option: str, reason: str
) -> None:
    for text in (f"sbatch_options: {{{option}}}", f"stages: {{train: {{sbatch_options: {{{option}}}}}}}"):
        (mistake,) = mistakes(tmp_path, text)
        assert reason in mistake


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "aws_secret_access_key", "DB_PASSWORD", "MYTOKEN"]
)
def test_a_secret_may_not_be_written_into_a_profile(tmp_path: Path, name: str) -> None:
    for text in (
        f"environment: {{{name}: abc}}",
        f"setup: ['export {name}=abc']",
        f"setup: ['true; {name}=\"abc\" ls']",
    ):
        (mistake,) = mistakes(tmp_path, text)
        assert "export it in the shell you submit from" in mistake
        assert "abc" not in mistake


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MASTER_PORT", "is set by the job itself"),
        ("SLURM_NNODES", "is set by the job itself"),
        ("TMPDIR", "is set by scratch:"),
        ("A-B", "is no name of a variable"),
    ],
)
def test_variables_that_the_job_sets_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    (mistake,) = mistakes(tmp_path, f"environment: {{{name}: x}}")
    assert reason in mistake


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "reservation", "container"])
def test_a_value_of_two_lines_cannot_slip_a_line_into_a_script(tmp_path: Path, key: str) -> None:
    (mistake,) = mistakes(tmp_path, f'{key}: "x\\n#SBATCH --uid=0"')
    assert "must be one line without control characters" in mistake


@pytest.mark.parametrize("text", ["- a", "partition: [", "a: 1\na: 1"])
def test_what_is_no_mapping_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    assert mistakes(tmp_path, text)


def test_an_empty_profile_is_the_default_one_under_its_own_name(tmp_path: Path) -> None:
    write(tmp_path, "lab", "# nothing\n")
    assert load_profile("lab") == ClusterProfile(name="lab")


def test_an_unknown_profile_lists_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, "lab", "")
    with pytest.raises(
        UserError, match=r"no cluster profile 'lap'; did you mean lab\? There are: default, lab"
    ):
        load_profile("lap")


def test_the_packaged_profile_shows_every_key() -> None:
    text = (PACKAGED / "default.yaml").read_text(encoding="utf-8")
    for key in ClusterProfile().to_json():
        assert key == "name" or f"\n{key}:" in text
