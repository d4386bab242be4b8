"""Two clusters as they answer: one recorded, one written after the manuals of newer versions."""

from pathlib import Path

from launch.slurm.site import Site, parse_site

ANSWERS = Path(__file__).parent / "slurm_answers"


def recorded(version: str, name: str) -> str:
    """What `config`, `partitions`, `nodes` or `associations` were answered; 22.05 was recorded."""
    return (ANSWERS / version / f"{name}.txt").read_text(encoding="utf-8")


def site(version: str) -> Site:
    """The cluster of that version."""
    names = ("config", "partitions", "nodes", "associations")
    return parse_site(*(recorded(version, name) for name in names))
