"""`launch fetch`: bring a recipe's model and data here, for jobs without a network."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from launch.arguments import add_cluster, add_json, add_recipe, command
from launch.output import print_json, print_lines

if TYPE_CHECKING:
    from launch.arguments import Commands
    from launch.fetch import Fetched


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "fetch",
        "bring a recipe's model and data here, so that its jobs need no network",
        """
launch fetch recipes/qwen_ner.yaml
launch fetch recipes/qwen_ner.yaml model.revision=v1.0
HF_TOKEN=… launch fetch recipes/gated.yaml --profile mylab
""",
    )
    add_recipe(parser)
    add_cluster(parser)
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.fetch import fetch
    from launch.planning import plan_recipe

    planned = plan_recipe(chosen.recipe, chosen.overrides, cluster=chosen.cluster, profile=chosen.profile)
    if chosen.json:
        print_json([one.to_json() for one in fetch(planned)])
    else:
        print_lines(_lines(fetch(planned)))
    return 0


def _lines(fetched: Iterable[Fetched]) -> Iterator[str]:
    from rankfold.hub_cache import size_text

    nothing = True
    for one in fetched:
        nothing = False
        state = "fetched" if one.is_new else "here already"
        yield f"{one.what}: {state}"
        yield f"  {one.revision}, {one.num_files} files, {size_text(one.num_bytes)}"
        yield f"  {one.folder}"
        if one.note:
            yield f"  note: {one.note}"
    if nothing:
        yield "nothing to fetch: this recipe's model and data are files of this machine"
