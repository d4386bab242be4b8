"""Whether a part of a run is done, judged by what it has written and not by what it says of itself."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rankfold.nbest.coverage import is_complete
from rankfold.nbest.units import plan_units, units_of_shard
from rankfold.run_folder import VARIANTS, RunFolder
from rankfold.stages.inputs import prepared_summary, recipe_and_task, run_fingerprint


def is_done(run: RunFolder, stage: str, variant: str | None, shard: int | None, num_shards: int) -> bool:
    """Whether a job's results are all there, whole, and made from what the stages before left.

    A job whose own input is missing is not done. A shard is done where each of its work units is; those that
    are damaged or were computed from something else count as missing. A merge is done where no work unit is
    newer than its results, so that what was computed again is merged again.
    """
    if stage == "prepare":
        return run.prepare_summary.is_file()
    if stage == "train":
        return run.train_summary.is_file() and run.model.is_dir()
    if stage == "merge":
        return _is_merged(run) or (shard is not None and _is_part_merged(run, shard, num_shards))
    if variant is None or shard is None:
        raise ValueError(f"{stage} without a variant or shard")
    return _is_evaluated(run, variant, shard, num_shards)


def _is_evaluated(run: RunFolder, variant: str, shard: int, num_shards: int) -> bool:
    before = ("prepare",) if variant == "base" else ("prepare", "train")
    if not all(is_done(run, stage, None, None, 1) for stage in before):
        return False
    recipe, task = recipe_and_task(run)
    fingerprint = run_fingerprint(run, recipe, task, variant)
    num_rows = prepared_summary(run)["test"]["num_features"]
    units = units_of_shard(plan_units(num_rows, recipe.evaluation.unit_size), shard, num_shards)
    return all(is_complete(run.shards(variant), unit, fingerprint) for unit in units)


def _is_merged(run: RunFolder) -> bool:
    reports = [run.report_html, run.report_markdown]
    return all(
        _are_newer([*_results(run, variant), *reports], _manifests(run, variant))
        for variant in _variants(run)
    )


def _is_part_merged(run: RunFolder, part: int, num_parts: int) -> bool:
    # A part of a merge under other settings is not joined: the merge then makes the part itself.
    pattern = f"*/part-{part:05d}-of-{num_parts:05d}"
    return all(
        any(
            _are_newer(list(folder.iterdir()), _manifests(run, variant))
            for folder in run.merge_parts(variant, "").glob(pattern)
        )
        for variant in _variants(run)
    )


def _variants(run: RunFolder) -> Sequence[str]:
    recipe, _ = recipe_and_task(run)
    return VARIANTS if recipe.evaluation.baseline else VARIANTS[1:]


def _results(run: RunFolder, variant: str) -> list[Path]:
    return [file(variant) for file in (run.metrics, run.predictions, run.nbest, run.details)]


def _manifests(run: RunFolder, variant: str) -> Iterator[Path]:
    return run.shards(variant).glob("*.json")


def _are_newer(files: Sequence[Path], sources: Iterator[Path]) -> bool:
    """Whether all of `files` are there, and none is older than the newest of `sources`."""
    if not files or not all(file.is_file() for file in files):
        return False
    newest = max((source.stat().st_mtime_ns for source in sources), default=0)
    return min(file.stat().st_mtime_ns for file in files) >= newest
