"""Work units that are deleted, cut short, damaged, doubled or foreign: what the merge says of each."""

import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import evaluate_all, results
from transformers import PreTrainedModel

from rankfold.atomic import write_json
from rankfold.errors import NumericalError, ShardError
from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge


def manifest(run: RunFolder, index: int) -> Path:
    return run.shards("fine_tuned") / f"unit-{index:05d}.json"


def payload(run: RunFolder, index: int) -> Path:
    return run.shards("fine_tuned") / str(json.loads(manifest(run, index).read_text())["payload"])


def delete(run: RunFolder) -> None:
    manifest(run, 2).unlink()


def truncate(run: RunFolder) -> None:
    file = payload(run, 2)
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(run: RunFolder) -> None:
    file = payload(run, 2)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def duplicate_with_other_content(run: RunFolder) -> None:
    other = payload(run, 0).read_bytes()
    named = {"payload": "other.bin", "num_bytes": len(other), "sha256": hashlib.sha256(other).hexdigest()}
    (run.shards("fine_tuned") / "other.bin").write_bytes(other)
    write_json(manifest(run, 2).with_name("z.json"), json.loads(manifest(run, 2).read_text()) | named)


def mix_in_another_run(run: RunFolder) -> None:
    manifest(run, 2).unlink()
    for path in run.shards("base").glob("unit-00002.*"):
        shutil.copy(path, run.shards("fine_tuned"))


DAMAGES: dict[Callable[[RunFolder], None], str] = {
    delete: r"missing: unit 2 \(items 4 to 5\)",
    truncate: r"unit-00002.json: truncated: .* bytes",
    flip_a_bit: r"unit-00002.json: corrupt: .* has sha256 .*, written was",
    duplicate_with_other_content: r"z.json: duplicate conflicting: unit 2 \(items 4 to 5\) differs from",
    mix_in_another_run: r"unit-00002.json: from another run: model is .*, expected",
}


@pytest.fixture
def forward_passes() -> Iterator[list[str]]:
    """The class of every whole model that is called."""
    called: list[str] = []

    def note(module: torch.nn.Module, _: Any) -> None:
        if isinstance(module, PreTrainedModel) and "For" in type(module).__name__:
            called.append(type(module).__name__)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    yield called
    handle.remove()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_each_damage_has_its_own_diagnosis_and_leaves_the_results_alone(
    run: RunFolder, damage: Callable[[RunFolder], None]
) -> None:
    before = results(run)
    damage(run)
    with pytest.raises(ShardError, match=DAMAGES[damage]) as caught:
        merge(run)
    assert caught.value.where == str(run.shards("fine_tuned"))
    assert "un `launch resume RUN`" in caught.value.remedy
    others = [pattern for other, pattern in DAMAGES.items() if other is not damage]
    assert not any(re.search(pattern, caught.value.message) for pattern in others)
    assert results(run) == before


@pytest.mark.parametrize("damage", [delete, truncate, flip_a_bit, mix_in_another_run])
def test_resuming_runs_the_model_over_the_damaged_unit_only(
    run: RunFolder, damage: Callable[[RunFolder], None], forward_passes: list[str]
) -> None:
    before = results(run)
    damage(run)
    evaluate_all(run, 3)
    of_one_unit = len(forward_passes)
    merge(run)
    assert results(run) == before
    forward_passes.clear()
    shutil.rmtree(run.shards("fine_tuned"))
    evaluate_all(run, 1)
    # Five units of two rows and one batch each; generation stops at different lengths.
    assert 0 < of_one_unit < len(forward_passes)
    if "CausalLM" not in forward_passes[0]:
        assert (of_one_unit, len(forward_passes)) == (1, num_units(run))


def test_resuming_a_whole_evaluation_runs_no_model(run: RunFolder, forward_passes: list[str]) -> None:
    evaluate_all(run, 4)
    assert forward_passes == []


def test_a_unit_that_came_twice_counts_once(run: RunFolder) -> None:
    before = results(run)
    shutil.copy(manifest(run, 1), manifest(run, 1).with_name("unit-00001.again.json"))
    merge(run)
    assert results(run) == before


@pytest.fixture
def third_pass_diverges() -> Iterator[None]:
    """One logit of the third batch that a whole model is given is not a number."""
    passes = itertools.count(1)

    def diverge(module: torch.nn.Module, _: Any, output: Any) -> None:
        if isinstance(module, PreTrainedModel) and "For" in type(module).__name__ and next(passes) == 3:
            for name in ("start_logits", "logits"):
                if name in output:
                    output[name][0, 2] = float("nan")

    handle = torch.nn.modules.module.register_module_forward_hook(diverge)
    yield
    handle.remove()


@pytest.mark.parametrize("finished", ["extractive_qa", "token_classification"], indirect=True)
def test_a_logit_that_is_no_number_fails_the_shard_by_name_and_no_result_is_written(
    run: RunFolder, third_pass_diverges: None
) -> None:
    shutil.rmtree(run.shards("fine_tuned"))
    shutil.rmtree(run.root / "results")
    with pytest.raises(NumericalError, match=r"in window \d+ is nan") as caught:
        evaluate(run, "fine_tuned", 0, 1)
    assert caught.value.where == "shard 0 (fine_tuned)"
    # Two units were whole by then; the third, a batch of two windows, left nothing.
    assert num_units(run) == 2
    window = int(re.search(r"window (\d+)", caught.value.message).group(1))  # type: ignore[union-attr]
    assert window in (4, 5)
    with pytest.raises(ShardError, match="missing: units 2 to"):
        merge(run)
    assert not run.results("fine_tuned").exists()


def num_units(run: RunFolder) -> int:
    return len(list(run.shards("fine_tuned").glob("*.json")))
