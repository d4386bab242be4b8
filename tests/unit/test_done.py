"""What counts as done: results that are there, whole, and made from what is there now."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rankfold.run_folder import RunFolder
from rankfold.stages.done import is_done
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge

pytestmark = pytest.mark.parametrize("finished", ["extractive_qa"], indirect=True)

JOBS = {
    "prepare": ("prepare", None, None, 1),
    "train": ("train", None, None, 1),
    "base 0": ("evaluate", "base", 0, 2),
    "base 1": ("evaluate", "base", 1, 2),
    "fine_tuned 0": ("evaluate", "fine_tuned", 0, 2),
    "fine_tuned 1": ("evaluate", "fine_tuned", 1, 2),
    "merge": ("merge", None, None, 1),
}


def missing(run: RunFolder) -> set[str]:
    return {name for name, job in JOBS.items() if not is_done(run, *job)}


def later(path: Path) -> None:
    """Give a file the time of a moment after all others."""
    os.utime(path, ns=(2**62, 2**62))


def test_nothing_is_missing_from_a_whole_run(run: RunFolder) -> None:
    assert missing(run) == set()


def delete(file: Callable[[RunFolder], Path]) -> Callable[[RunFolder], None]:
    return lambda run: file(run).unlink()


def truncate(run: RunFolder) -> None:
    [payload] = run.shards("base").glob("unit-00001.*.bin")
    payload.write_bytes(payload.read_bytes()[:-1])


def flip(run: RunFolder) -> None:
    [payload] = run.shards("base").glob("unit-00001.*.bin")
    content = bytearray(payload.read_bytes())
    content[0] ^= 1
    payload.write_bytes(content)


def make_foreign(run: RunFolder) -> None:
    manifest = run.shards("base") / "unit-00001.json"
    manifest.write_text(manifest.read_text().replace('"seed": 42', '"seed": 43'))


EVALUATIONS = {name for name in JOBS if " " in name}


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (delete(lambda run: run.prepare_summary), {"prepare", *EVALUATIONS}),
        (delete(lambda run: run.train_summary), {"train", "fine_tuned 0", "fine_tuned 1"}),
        (lambda run: run.model.rename(run.root / "elsewhere"), {"train", "fine_tuned 0", "fine_tuned 1"}),
        (delete(lambda run: run.shards("fine_tuned") / "unit-00002.json"), {"fine_tuned 0"}),
        (truncate, {"base 1"}),
        (flip, {"base 1"}),
        (make_foreign, {"base 1", "merge"}),
        (delete(lambda run: run.metrics("base")), {"merge"}),
        (delete(lambda run: run.predictions("fine_tuned")), {"merge"}),
        (delete(lambda run: run.report_html), {"merge"}),
        (lambda run: later(run.shards("base") / "unit-00000.json"), {"merge"}),
    ],
)
def test_what_is_gone_damaged_or_foreign_is_missing(
    run: RunFolder, damage: Callable[[RunFolder], None], expected: set[str]
) -> None:
    damage(run)
    assert missing(run) == expected


def test_a_shard_computed_again_is_merged_again(run: RunFolder) -> None:
    flip(run)
    evaluate(run, "base", 1, 2)
    assert missing(run) == {"merge"}
    merge(run)
    assert missing(run) == set()


def test_a_part_is_done_where_its_folder_is_newer_than_every_work_unit(run: RunFolder) -> None:
    run.report_html.unlink()
    for variant in ("base", "fine_tuned"):
        part = run.merge_parts(variant, "abc") / "part-00001-of-00003"
        part.mkdir(parents=True)
        (part / "details.jsonl").touch()
    assert [is_done(run, "merge", None, part, 3) for part in range(3)] == [False, True, False]
    later(run.shards("base") / "unit-00000.json")
    assert not is_done(run, "merge", None, 1, 3)


def test_asking_imports_neither_torch_nor_its_friends(run: RunFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from rankfold.run_folder import RunFolder; "
        "from rankfold.stages.done import is_done; "
        "assert is_done(RunFolder(Path(sys.argv[1])), 'evaluate', 'fine_tuned', 0, 1); "
        "sys.exit(str({'torch', 'transformers', 'datasets'} & set(sys.modules) or '') or 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(run.root)], check=True)
