"""Every path inside a run, and the only place that knows them."""

from dataclasses import dataclass
from pathlib import Path

VARIANTS = ("base", "fine_tuned")
"""What is evaluated: the model as it came, and the model that this run trained."""


def job_name(stage: str, variant: str | None = None, shard: int | None = None) -> str:
    """Name of a job: `prepare`, `train`, `merge`, `merge-<part>`, or `evaluate-<variant>-<shard>`."""
    return "-".join(str(part) for part in (stage, variant, shard) if part is not None)


@dataclass(frozen=True)
class PreparedFolder:
    """What prepare hands on; the folder appears only when all of it is there."""

    root: Path

    @property
    def summary(self) -> Path:
        """Counts of examples, tokens, truncated and dropped, and fingerprints: JSON."""
        return self.root / "summary.json"

    @property
    def tokenizer(self) -> Path:
        return self.root / "tokenizer"

    def examples(self, split: str) -> Path:
        """The examples of a split as read: JSON lines."""
        return self.root / f"{split}.examples.jsonl"

    def features(self, split: str) -> Path:
        """The tokenised features of a split: an Arrow data set."""
        return self.root / f"{split}.features"


@dataclass(frozen=True)
class RunFolder:
    """The folder `runs/<run id>/` of one run."""

    root: Path

    @property
    def run_id(self) -> str:
        return self.root.name

    # What ran.

    @property
    def recipe(self) -> Path:
        """The resolved recipe, as YAML that can be submitted again."""
        return self.root / "recipe.yaml"

    @property
    def recipe_sources(self) -> Path:
        """Where each resolved value came from: JSON, dotted key → source."""
        return self.root / "recipe.sources.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def run(self) -> Path:
        """Identity of the run: id, creation time, command line, recipe hash."""
        return self.root / "run.json"

    @property
    def code(self) -> Path:
        """The code that runs: revision, uncommitted changes, files git does not know yet."""
        return self.root / "code"

    @property
    def git(self) -> Path:
        """Revision, branch and whether there were uncommitted changes: JSON."""
        return self.code / "git.json"

    @property
    def git_diff(self) -> Path:
        """What differs from the revision, as `git diff HEAD --binary` says it."""
        return self.code / "diff.patch"

    @property
    def untracked(self) -> Path:
        """Copies of the files that git does not know yet."""
        return self.code / "untracked"

    @property
    def untracked_list(self) -> Path:
        """Every file git does not know yet, and why some were not copied: JSON."""
        return self.code / "untracked.json"

    @property
    def environment(self) -> Path:
        """Python, packages and machine: JSON."""
        return self.root / "environment.json"

    @property
    def lock(self) -> Path:
        """Exactly what was fetched for the run: JSON, model and data sets with revision and folder."""
        return self.root / "lock.json"

    @property
    def profile(self) -> Path:
        """The cluster profile that the jobs were submitted with: JSON."""
        return self.root / "profile.json"

    # How it goes.

    @property
    def cancelled(self) -> Path:
        """Here once somebody cancelled the run: nothing is tried again."""
        return self.root / "cancelled.json"

    @property
    def jobs(self) -> Path:
        """One folder a job: state, progress, logs."""
        return self.root / "jobs"

    def job(self, job_name: str) -> Path:
        return self.jobs / job_name

    def job_state(self, job_name: str) -> Path:
        return self.job(job_name) / "state.json"

    def progress(self, job_name: str) -> Path:
        return self.job(job_name) / "progress.json"

    def rank_state(self, job_name: str, rank: int) -> Path:
        return self.job(job_name) / f"rank{rank}.json"

    def log(self, job_name: str, rank: int) -> Path:
        return self.job(job_name) / f"rank{rank}.log"

    def exit_codes(self, job_name: str) -> Path:
        """Exit code of each rank, null where it still ran when another failed: JSON list."""
        return self.job(job_name) / "exit_codes.json"

    def attempts(self, job_name: str) -> Path:
        """Every attempt at a job: when, where, from which progress on, and how it ended. JSON list."""
        return self.job(job_name) / "attempts.json"

    def rendezvous(self, job_name: str, attempt: int) -> Path:
        """Where the ranks of one attempt meet: JSON with addresses and port, written by rank 0."""
        return self.job(job_name) / f"rendezvous.{attempt}.json"

    def submitit(self, name: str) -> Path:
        """Where submitit keeps its pickles and the output of a job, or of an array of jobs."""
        return self.job(name) / "submitit"

    def output(self, name: str, slurm_id: str, rank: int = 0) -> Path:
        """What a rank wrote before its log was open; rank 0's file is also the batch script's own."""
        return self.submitit(name) / f"{slurm_id}_{rank}_log.out"

    @property
    def job_ids(self) -> Path:
        """Slurm's ids of the jobs as they were submitted last: JSON, job name → `7`, or `7_2` in an array."""
        return self.root / "jobs.json"

    @property
    def driver_log(self) -> Path:
        return self.root / "driver.log"

    @property
    def driver_state(self) -> Path:
        """The process that runs the stages on this machine: pid, start time."""
        return self.root / "driver.json"

    # What the stages hand on.

    @property
    def prepared(self) -> PreparedFolder:
        return PreparedFolder(self.root / "prepared")

    @property
    def prepare_summary(self) -> Path:
        return self.prepared.summary

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's events of every attempt."""
        return self.root / "tensorboard"

    @property
    def swanlab(self) -> Path:
        """What SwanLab writes here, where it is offline: a folder an attempt, all of one id."""
        return self.root / "swanlab"

    @property
    def tracker_errors(self) -> Path:
        """Trackers that were not told the results, and why: JSON, tracker → reason. Absent where all were."""
        return self.root / "tracker_errors.json"

    @property
    def tracking(self) -> Path:
        """The ids that trackers gave to this run: JSON, tracker → id."""
        return self.root / "tracking.json"

    @property
    def model(self) -> Path:
        """The trained model or adapter; the folder appears only when it is whole."""
        return self.root / "model"

    @property
    def train_summary(self) -> Path:
        """Training history and totals: JSON, written last by train."""
        return self.root / "train_summary.json"

    def shards(self, variant: str) -> Path:
        """Work units of the evaluation: a payload and a manifest each."""
        return self.root / "shards" / variant

    def merge_parts(self, variant: str, merge_id: str) -> Path:
        """Ranges of examples that jobs of their own have merged, until all are joined."""
        return self.root / "merged" / variant / merge_id

    # What came out.

    def results(self, variant: str) -> Path:
        return self.root / "results" / variant

    def predictions(self, variant: str) -> Path:
        return self.results(variant) / "predictions.json"

    def nbest(self, variant: str) -> Path:
        return self.results(variant) / "nbest.jsonl"

    def metrics(self, variant: str) -> Path:
        return self.results(variant) / "metrics.json"

    def details(self, variant: str) -> Path:
        """One line an example with gold, predicted and their comparison, for the report: JSON lines."""
        return self.results(variant) / "details.jsonl"

    def merge_settings(self, variant: str) -> Path:
        """Settings of the last merge that are not the recipe's: JSON, dotted key → value."""
        return self.results(variant) / "merge_settings.json"

    @property
    def report_html(self) -> Path:
        return self.root / "report.html"

    @property
    def report_markdown(self) -> Path:
        return self.root / "report.md"
