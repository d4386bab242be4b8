"""Ranks that are asked to stop, meet NaN, or hang: none waits for one that is gone."""

import json
from pathlib import Path

import pytest
from models import same_weights
from ranks import exit_codes, on_ranks
from unit.training import ranks_in_trouble
from unit.training.validated import prepared_run

from rankfold.checkpoints import complete_steps
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder
from rankfold.training.checkpoints import resume_point

DROPOUT = {"config": {"hidden_dropout_prob": 0.2}}
TIMEOUT_S = 5.0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero2"])
def test_two_ranks_stop_together_and_end_with_the_weights_of_a_run_that_was_not_stopped(
    encoder_folder: Path, tmp_path: Path, strategy: str
) -> None:
    # Five rows, one a rank: three steps an epoch.
    train = {"per_device_train_batch_size": 1, "max_steps": 8, "eval_steps": 2, "logging_steps": 3}
    kept = {"save_steps": 100, "load_best_model_at_end": True, "save_total_limit": 1}
    runs = {}
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        runs[name] = prepared_run(
            tmp_path / name,
            "extractive_qa",
            encoder_folder,
            model=DROPOUT,
            train=train | kept,
            distributed={"strategy": strategy},
        )
    on_ranks(2, ranks_in_trouble.stop_and_go_on, tmp_path, runs["whole"], runs["stopped"], [1, 3, 5, 8])
    for rank in range(2):
        whole, stopped = (
            # Neither speed nor memory is what a run comes to.
            {
                key: value
                for key, value in summary.items()
                if key in ("train_loss", "train_num_tokens") or not key.startswith("train_")
            }
            for summary in json.loads((runs["stopped"].root / f"summaries{rank}.json").read_text())
        )
        assert stopped == whole
    assert same_weights(runs["stopped"].model, runs["whole"].model)
    refuse_another_number_of_ranks(runs["stopped"])


def refuse_another_number_of_ranks(run: RunFolder) -> None:
    with pytest.raises(UserError) as caught:
        resume_point(run.checkpoints)
    assert "checkpoint-8 was written by 2 ranks, but this job has 1 rank" in str(caught.value)
    assert f"run on 2 ranks again, or remove {run.checkpoints}" in str(caught.value)


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int | None]]:
    """Where two ranks have met trouble one after the other, and how their processes ended."""
    folder = tmp_path_factory.mktemp("trouble")
    return folder, exit_codes(2, ranks_in_trouble.meet_trouble, folder, folder, TIMEOUT_S)


def test_a_number_that_is_none_on_one_rank_is_met_by_all(trouble: tuple[Path, list[int | None]]) -> None:
    folder, _ = trouble
    first, last = (json.loads((folder / f"met{rank}.json").read_text()) for rank in range(2))
    assert first[0] == "step 3: the training loss of another rank is not finite"
    assert last[0] == "step 3: the training loss is nan"
    assert first[1] == last[1] == "window 7, rank 1 (validation): a logit is not finite"
    assert complete_steps(folder) == [2]


def test_a_disk_that_is_full_for_one_rank_s_model_ends_all(trouble: tuple[Path, list[int | None]]) -> None:
    folder, _ = trouble
    first, last = (json.loads((folder / f"unsaved{rank}.json").read_text()) for rank in range(2))
    assert first == [["OSError", "[Errno 28] No space left on device"]] * 2
    said = "rank 0 could not save the model: OSError: [Errno 28] No space left on device"
    assert last == [["OperationalError", said]] * 2


def test_ranks_that_hang_write_down_where_they_stand_and_end(trouble: tuple[Path, list[int | None]]) -> None:
    folder, codes = trouble
    assert codes == [1, 1]
    waiting, gone = ((folder / f"rank{rank}.log").read_text() for rank in range(2))
    assert all("Timeout (0:00:05)!" in log for log in (waiting, gone))
    assert "training_step" in waiting
    assert "on_step_begin" in gone
