"""What trackers are told besides the training curve: which run it is, its scores and its predictions.

Training tells them by transformers' own callbacks. Scores exist only after the merge, which has no Trainer
and needs no torch, so it goes on with the same run here.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any

from rankfold import atomic
from rankfold.redact import redact_line
from rankfold.run_folder import VARIANTS, RunFolder

MLFLOW_RUN_ID = "MLFLOW_RUN_ID"

NUM_PREDICTIONS = 100
"""Examples whose predictions a tracker gets: enough to look at, the rest is in the report."""

COLUMNS = ("id", "text", "gold", "predicted", "score")

PREDICTIONS = "predictions"

PROJECT = "rankfold"
"""SwanLab's project unless the user says: it would go by the folder that a job happens to run in."""


def name_the_run(run: RunFolder, environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell trackers by their variables which run to go on with; what the user has set stays.

    trackio goes by the name of the run and needs none. MLflow gives ids itself: an earlier attempt has
    written it down.
    """
    variables = {
        "WANDB_RUN_ID": run.run_id,
        "WANDB_RESUME": "allow",
        "SWANLAB_RUN_ID": run.run_id,
        "SWANLAB_RESUME": "allow",
        # Its own default is the folder that a job happens to run in.
        "SWANLAB_LOG_DIR": str(run.swanlab),
        # Its own default has the time of day in it, and lies among the checkpoints.
        "TENSORBOARD_LOGGING_DIR": str(run.tensorboard),
    }
    if run.tracking.is_file():
        variables[MLFLOW_RUN_ID] = json.loads(run.tracking.read_text(encoding="utf-8"))["mlflow"]
    for name, value in variables.items():
        environment.setdefault(name, value)


@dataclass(frozen=True)
class Results:
    """What came out of a run, for a tracker.

    Attributes:
        run_id: The run's name.
        step: The last optimizer step, where the training curve ends.
        metrics: `results/<variant>/<metric>` → number.
        predictions: The first examples' values of COLUMNS, as text.
    """

    run_id: str
    step: int
    metrics: Mapping[str, float]
    predictions: Sequence[tuple[str, ...]]


def track_results(run: RunFolder, report_to: Sequence[str]) -> None:
    """Tell each tracker what came out; one that fails is told in the job's log and in the report.

    Results are whole without a tracker, so that none may cost them.
    """
    errors = dict(_told(run, report_to)) if report_to else {}
    for tracker, why in errors.items():
        print(f"warning: {tracker} was not told the results: {why}", flush=True)
    if errors:
        atomic.write_json(run.tracker_errors, errors)
    else:
        run.tracker_errors.unlink(missing_ok=True)


def _told(run: RunFolder, report_to: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Tell each tracker; yield each that could not be told, with the reason."""
    try:
        name_the_run(run)
        results = read_results(run)
    except Exception as error:
        # A task of another package may write details of another shape.
        yield from ((tracker, f"what to tell cannot be read: {described(error)}") for tracker in report_to)
        return
    for tracker in report_to:
        try:
            _TELL[tracker](run, results)
        except Exception as error:
            is_here = find_spec(tracker) is not None
            yield tracker, described(error) if is_here else "it is not installed where the merge ran"


def read_results(run: RunFolder) -> Results:
    """Read what the merge has just written."""
    summary = json.loads(run.train_summary.read_text(encoding="utf-8"))
    metrics = {
        f"results/{variant}/{name}": float(value)
        for variant in VARIANTS
        if run.metrics(variant).is_file()
        for name, value in json.loads(run.metrics(variant).read_text(encoding="utf-8")).items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    with run.details(VARIANTS[-1]).open(encoding="utf-8") as file:
        predictions = [_prediction(json.loads(line)) for line in islice(file, NUM_PREDICTIONS)]
    return Results(run.run_id, summary["global_step"], metrics, predictions)


def _prediction(details: Mapping[str, Any]) -> tuple[str, ...]:
    """An example's values of COLUMNS, whatever its task."""
    if "context" in details and "question" in details:
        text = f"{details['question']} | {details['context']}"
        gold = " | ".join(answer["text"] for answer in details["answers"])
        predicted, score = details["prediction"], details["f1"]
    elif "invented" in details:
        text, score = details["text"], details["f1"]
        gold, predicted = (_entities(text, details[side]) for side in ("gold", "predicted"))
    else:
        text, gold, predicted, score = (details[name] for name in COLUMNS[1:])
    return details["id"], text, gold, predicted, "" if score is None else f"{score:.4g}"


def _entities(text: str, spans: Sequence[Sequence[Any]]) -> str:
    return ", ".join(f"{text[start:end]} ({label})" for start, end, label, *_ in spans)


def described(error: Exception) -> str:
    """An error in one line, without secrets."""
    lines = str(error).strip().splitlines()
    return redact_line(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def _tell_tensorboard(run: RunFolder, results: Results) -> None:
    # torch's SummaryWriter writes the same, after seconds of importing torch.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    values = [Summary.Value(tag=name, simple_value=value) for name, value in results.metrics.items()]
    values.append(_tensorboard_text(PREDICTIONS, "\n".join(_markdown(results.predictions))))
    writer = EventFileWriter(str(run.tensorboard))
    try:
        writer.add_event(Event(wall_time=time.time(), step=results.step, summary=Summary(value=values)))
    finally:
        writer.close()


def _tensorboard_text(tag: str, text: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
    shown_by = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary.Value(tag=tag, metadata=shown_by, tensor=tensor)


def _markdown(predictions: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for row in (COLUMNS, ("---",) * len(COLUMNS), *predictions):
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"


def open_swanlab(run: RunFolder) -> None:
    """Open SwanLab's run, or go on with it, unless one is open; `name_the_run` was called before."""
    import swanlab

    if not swanlab.has_run():
        run.swanlab.mkdir(exist_ok=True)
        swanlab.init(
            # What transformers calls SWANLAB_PROJECT, SwanLab 0.10 takes for JSON.
            project=os.environ.get("SWANLAB_PROJ_NAME", PROJECT),
            name=run.run_id,
            id=os.environ["SWANLAB_RUN_ID"],
            resume=os.environ["SWANLAB_RESUME"],
        )


def _tell_swanlab(run: RunFolder, results: Results) -> None:
    import swanlab

    open_swanlab(run)
    swanlab.log(dict(results.metrics), step=results.step)
    table = swanlab.echarts.Table()
    table.add(list(COLUMNS), [list(row) for row in results.predictions])
    swanlab.log({PREDICTIONS: table}, step=results.step)
    swanlab.finish()


def _tell_wandb(run: RunFolder, results: Results) -> None:
    import wandb

    # As transformers has it; id and resume are in the environment.
    with wandb.init(project=os.environ.get("WANDB_PROJECT", "huggingface"), name=results.run_id) as tracked:
        tracked.summary.update(dict(results.metrics))
        table = wandb.Table(columns=list(COLUMNS), data=[list(row) for row in results.predictions])
        tracked.log({PREDICTIONS: table})


def _tell_mlflow(run: RunFolder, results: Results) -> None:
    import mlflow

    with mlflow.start_run(run_id=os.environ[MLFLOW_RUN_ID]):
        mlflow.log_metrics(dict(results.metrics), step=results.step)
        columns = zip(*results.predictions, strict=True)
        mlflow.log_table(
            {name: list(values) for name, values in zip(COLUMNS, columns, strict=True)},
            artifact_file=f"{PREDICTIONS}.json",
        )


def _tell_trackio(run: RunFolder, results: Results) -> None:
    import pandas as pd
    import trackio

    # The Trainer's own default of the project.
    trackio.init(project="huggingface", name=results.run_id, resume="allow")
    table = trackio.Table(dataframe=pd.DataFrame(list(results.predictions), columns=list(COLUMNS)))
    trackio.log({**results.metrics, PREDICTIONS: table}, step=results.step)
    trackio.finish()


_TELL: Mapping[str, Callable[[RunFolder, Results], None]] = {
    "tensorboard": _tell_tensorboard,
    "swanlab": _tell_swanlab,
    "wandb": _tell_wandb,
    "mlflow": _tell_mlflow,
    "trackio": _tell_trackio,
}
