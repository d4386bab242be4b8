"""The totals of a training: how long, how large, how fast."""

from rankfold.report.facts import TrainingFacts
from rankfold.report.formats import format_count, format_seconds


def training_rows(training: TrainingFacts) -> tuple[tuple[str, str], ...]:
    """The totals of training as (title, value), those that the run has."""
    totals = training.totals
    rows = [
        ("Optimizer steps", "global_step", format_count),
        ("Mean loss", "train_loss", "{:.4f}".format),
        ("Duration", "train_runtime_s", format_seconds),
        ("Examples a second", "train_samples_per_second", "{:,.1f}".format),
        ("Tokens a second", "train_tokens_per_second", format_count),
        ("Seconds a step", "train_seconds_per_step", "{:,.3g}".format),
        ("Padding", "train_padding_share", "{:.1%}".format),
        ("Peak memory of a rank", "train_peak_memory_gb", "{:,.2f} GB".format),
        ("Model FLOPs utilisation", "model_flops_utilization", "{:.1%}".format),
        ("Ranks", "world_size", format_count),
        ("Examples a step", "global_batch_size", format_count),
        ("Parameters", "total_parameters", format_count),
        ("Parameters trained", "trainable_parameters", format_count),
        ("Modules with Liger's kernels", "liger_modules", format_count),
    ]
    return tuple((title, show(totals[key])) for title, key, show in rows if key in totals)


def speed_line(training: TrainingFacts) -> str:
    """How fast training was, in one line; empty for a run that did not count its tokens."""
    totals = training.totals
    if "train_tokens_per_second" not in totals:
        return ""
    parts = (
        ("train_tokens_per_second", "{:,.0f} tokens a second"),
        ("train_padding_share", "{:.1%} padding"),
        ("train_peak_memory_gb", "{:,.2f} GB of memory at most"),
        ("model_flops_utilization", "{:.1%} of the peak FLOPs"),
    )
    words = [wording.format(totals[key]) for key, wording in parts if key in totals]
    return "Training: " + ", ".join(words) + "."
