"""Making the folder of a new run: there is a whole one or none."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launch.planning import Planned
from launch.snapshot import Code, read_code, write_code, write_environment
from launch.states import mark_pending, read_json
from rankfold import atomic
from rankfold.redact import redact_line
from rankfold.run_folder import RunFolder

DIGEST_LENGTH = 6


def create_run(
    planned: Planned,
    runs_folder: Path,
    *,
    prefix: str = "",
    command: Sequence[str] | None = None,
    sweep: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Write everything that says what will run, under a temporary name, then rename it into place.

    The folder is private (0700): data and code may be. `sweep` is written beside the run's identity.
    """
    from rankfold.recipe.load import recipe_sha256

    code = read_code(Path(__file__).parent)
    created = datetime.now(UTC)
    recipe = planned.loaded.recipe
    digest = run_digest(recipe_sha256(recipe), code)
    run_id = f"{prefix}{recipe.name}-{created:%Y%m%d-%H%M%S}-{digest}"
    runs_folder.mkdir(parents=True, exist_ok=True)
    temporary = RunFolder(Path(tempfile.mkdtemp(prefix=f".{run_id}.", suffix=".tmp", dir=runs_folder)))
    try:
        _write_recipe_and_plan(temporary, planned)
        write_code(temporary, code)
        write_environment(temporary)
        root = _free_place(runs_folder, run_id)
        identity = {
            "run_id": root.name,
            "name": recipe.name,
            "created": created.isoformat(timespec="seconds"),
            "command": [redact_line(word) for word in (sys.argv if command is None else command)],
            "recipe_sha256": recipe_sha256(recipe),
            "digest": digest,
            **({} if sweep is None else {"sweep": dict(sweep)}),
        }
        atomic.write_json(temporary.run, identity)
        # Renaming onto a folder that somebody made in the meantime fails: nothing is overwritten.
        temporary.root.rename(root)
    except BaseException:
        shutil.rmtree(temporary.root, ignore_errors=True)
        raise
    return RunFolder(root.absolute())


def digest_now(recipe_sha256: str) -> str:
    """The digest that a run of this recipe would get with the code as it is."""
    return run_digest(recipe_sha256, read_code(Path(__file__).parent))


def code_changed(run: RunFolder) -> bool:
    """Whether the code is another than when the run was made, as far as can be known here.

    A node or a container may lack git, and a run made before runs had a digest does not say.
    """
    identity, code = read_json(run.run), read_code(Path(__file__).parent)
    digest = identity.get("digest")
    if digest is None or (code.root is None and (read_json(run.git) or {}).get("revision") is not None):
        return False
    return bool(digest != run_digest(identity["recipe_sha256"], code))


def run_digest(recipe_sha256: str, code: Code) -> str:
    """Six hexadecimal digits that change with the recipe, the revision or an uncommitted change."""
    parts = [recipe_sha256.encode(), (code.revision or "").encode(), code.diff]
    # Lengths keep the end of one part from being read as the start of the next.
    content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def _write_recipe_and_plan(run: RunFolder, planned: Planned) -> None:
    """The recipe names commits of the hub instead of branches, so that it means the same tomorrow."""
    from launch.fetch import job_environment
    from rankfold.hub_cache import hub_cache
    from rankfold.lock import lock_recipe, write_lock
    from rankfold.recipe.load import resolved_yaml

    loaded = planned.loaded
    recipe, locked = lock_recipe(loaded.recipe, hub_cache(job_environment(planned)))
    write_lock(run, locked)
    atomic.write_text(run.recipe, resolved_yaml(replace(loaded, recipe=recipe)))
    sources = dict(loaded.sources)
    for entry in locked:
        if entry.kind == "hub":
            key = "model.revision" if entry.field == "model" else f"{entry.field}.path"
            sources[key] = f"{sources[key]}, its commit at submission"
    atomic.write_json(run.recipe_sources, sources)
    atomic.write_json(run.plan, planned.plan.to_json())
    mark_pending(run, planned.plan)


def _free_place(runs_folder: Path, run_id: str) -> Path:
    """The run id, or the run id with a number where two runs start within one second."""
    place, number = runs_folder / run_id, 2
    while place.exists():
        place, number = runs_folder / f"{run_id}-{number}", number + 1
    return place
