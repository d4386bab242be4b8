"""What a report says about a run: plain values, read from the run's files by `rankfold.report.read`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rankfold.data.examples import Answer, Span
from rankfold.task_facts import TaskFacts


@dataclass(frozen=True)
class InventedEntity:
    """An entity that the model wrote though its text is nowhere in the example."""

    text: str
    label: str


@dataclass(frozen=True)
class EntityResult:
    """An example of entity recognition beside what the model made of it.

    `f1` is of this example alone, 0..1; `generated` is what the model wrote, one text a sequence.
    """

    id: str
    text: str
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]
    invented: tuple[InventedEntity, ...]
    parse_failure: bool
    f1: float
    generated: tuple[str, ...]


@dataclass(frozen=True)
class AnswerResult:
    """A question beside the answer the model gave; `start` and `end` count characters of the context.

    `prediction` is empty where the model says that there is no answer; `f1` is 0..1.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    prediction: str
    start: int | None
    end: int | None
    exact_match: bool
    f1: float


@dataclass(frozen=True)
class TextResult:
    """An example of any other task: what went in, what was wanted, what came out, all as text.

    `score` is of this example alone, 0..1, 1 where nothing is wrong; None where it has none.
    """

    id: str
    text: str
    gold: str
    predicted: str
    score: float | None


ExampleResult = EntityResult | AnswerResult | TextResult


@dataclass(frozen=True)
class ChangedSetting:
    """A setting that was not the recipe's; the values are JSON, `in_recipe` is None where it has none."""

    key: str
    value: str
    in_recipe: str | None


@dataclass(frozen=True)
class MergedAgain:
    """What was different when the records were merged again.

    `num_tuned_on` counts the examples on which a null threshold was chosen, and which the scores leave out.
    """

    settings: tuple[ChangedSetting, ...]
    num_tuned_on: int | None


@dataclass(frozen=True)
class VariantFacts:
    """The scores of one model on the test set, as metrics.json has them.

    Attributes:
        metrics: Name → score or count; nervaluate's as `nervaluate_<scheme>_<score>`.
        intervals: Name → ends of its 95 % interval.
        per_label: Label → its scores and counts.
        merged_again: None where the scores are those of the recipe's settings.
        unmeasured: Names of scores for which the test set has nothing to compare with.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    per_label: Mapping[str, Mapping[str, float]]
    examples: tuple[ExampleResult, ...]
    merged_again: MergedAgain | None = None
    unmeasured: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SplitFacts:
    """Counts of one split as prepared; `dropped` maps a reason to a number of examples."""

    name: str
    num_examples: int
    num_features: int
    num_tokens: int
    num_truncated: int
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class SourceFacts:
    """Counts of one of several training sets, whose examples come `weight` times in an epoch."""

    counts: SplitFacts
    weight: float


@dataclass(frozen=True)
class PackingFacts:
    """How many rows training examples were packed into; `fill_share` is of their tokens, 0..1."""

    num_examples: int
    num_rows: int
    fill_share: float


@dataclass(frozen=True)
class DataFacts:
    """What prepare made of the data; `max_length` is in tokens.

    Attributes:
        dropped_before_split: Of a source that was then divided: reason → count.
        repaired: Training set, test set or source → what was put right → count.
        sources: Those that the training set is mixed from; none where it is one, each example once.
        packing: None where every training example has a row of its own.
    """

    labels: tuple[str, ...]
    max_length: int
    splits: tuple[SplitFacts, ...]
    dropped_before_split: Mapping[str, int]
    repaired: Mapping[str, Mapping[str, int]]
    sources: tuple[SourceFacts, ...] = ()
    packing: PackingFacts | None = None


@dataclass(frozen=True)
class Evaluation:
    """The scores on the validation set at one moment of training; `epoch` counts from 0 and has fractions."""

    step: int
    epoch: float | None
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrainingFacts:
    """What train_summary.json holds.

    Attributes:
        totals: Its numbers.
        losses: (optimizer step, loss).
        evaluations: In the order of steps; none where the recipe did not ask for them.
        best_metric: Name of the metric that says which evaluation is best.
        best_step: Step of the best evaluation.
        keeps_best: Whether the model is that of `best_step`, not of the last step.
        tracker_errors: Trackers that failed while they were told of it → why.
    """

    totals: Mapping[str, float]
    losses: tuple[tuple[int, float], ...]
    evaluations: tuple[Evaluation, ...] = ()
    best_metric: str | None = None
    best_step: int | None = None
    keeps_best: bool = False
    tracker_errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobFacts:
    """One job as its state file has it; `seconds` is None until it has ended."""

    job: str
    stage: str
    state: str
    seconds: float | None
    error: str | None


@dataclass(frozen=True)
class CodeFacts:
    """The code that ran; `revision` is None outside a git repository."""

    revision: str | None
    branch: str | None
    dirty: bool


@dataclass(frozen=True)
class EnvironmentFacts:
    """The machine and the packages that ran."""

    python: str
    platform: str
    cpu_count: int | None
    gpus: tuple[str, ...]
    packages: Mapping[str, str]


@dataclass(frozen=True)
class RunFacts:
    """All that a report says. None stands for a file that the run has not written (yet).

    `created` is ISO 8601; `recipe` is the resolved recipe as YAML; `value_sources` maps a recipe key to
    where its value came from; `html` is where the HTML report goes; `tracker_errors` maps a tracker that
    was not told the results to the reason.
    """

    run_id: str
    name: str
    created: str
    command: tuple[str, ...]
    task: str
    about_task: TaskFacts
    model: str
    recipe: str
    value_sources: Mapping[str, str]
    code: CodeFacts | None
    environment: EnvironmentFacts | None
    jobs: tuple[JobFacts, ...]
    data: DataFacts | None
    training: TrainingFacts | None
    base: VariantFacts | None
    fine_tuned: VariantFacts | None
    html: Path
    tracker_errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """failed, cancelled, completed, running or pending: the run as a whole.

        A run with scores of the trained model is complete: the merge job, which writes the report, can
        only say so of itself once the report is there.
        """
        states = {job.state for job in self.jobs}
        for state in ("failed", "cancelled"):
            if state in states:
                return state
        if self.fine_tuned is not None:
            return "completed"
        return "running" if states & {"running", "completed"} else "pending"

    @property
    def evaluated(self) -> VariantFacts | None:
        """The variant whose examples are shown: the trained model, or else the base model."""
        return self.fine_tuned or self.base
