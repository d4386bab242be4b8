"""The metrics of this package as `evaluate` metrics, loaded from its own files without a network."""

from pathlib import Path
from typing import TYPE_CHECKING

from rankfold.errors import OperationalError, UserError

if TYPE_CHECKING:
    import evaluate

_MODULES = Path(__file__).parent / "modules"

METRIC_NAMES = (
    "rankfold_classification",
    "rankfold_cmrc",
    "rankfold_entities",
    "rankfold_multi_label_classification",
    "rankfold_perplexity",
    "rankfold_squad",
    "rankfold_squad_v2",
    "rankfold_tags",
    "rankfold_written_text",
)


def load_metric(name: str) -> "evaluate.Metric":
    """Load a metric of `METRIC_NAMES` by its path; its data stays in memory.

    `evaluate` copies the module into its own cache (below HF_HOME, or HF_MODULES_CACHE) before it
    imports it, so the installed package may be read-only.

    Raises:
        UserError: There is no metric of that name.
        OperationalError: The cache of `evaluate` cannot be written.
    """
    if name not in METRIC_NAMES:
        raise UserError(
            f"unknown metric {name!r}; the metrics are {', '.join(METRIC_NAMES)}",
            remedy="Use one of these names.",
        )
    import evaluate  # takes six seconds, so only those who need it wait

    script = _MODULES / name / f"{name}.py"
    try:
        return evaluate.load(str(script), keep_in_memory=True)
    except OSError as error:
        raise OperationalError(
            f"evaluate could not load the metric or write its cache: {error}",
            where=str(script),
            remedy="Set HF_HOME to a folder that can be written.",
        ) from error
