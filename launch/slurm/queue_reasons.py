"""Why a job waits, in words: what Slurm's reason means for the one who waits."""

from __future__ import annotations

import re

NEVER = "DependencyNeverSatisfied"

REASONS: tuple[tuple[str, str], ...] = (
    (r"None|", "the scheduler has not looked at it yet"),
    (r"Resources", "next in line, until enough nodes are free"),
    (r"Priority", "other jobs are ahead of it"),
    (NEVER, "never starts: a job it needs did not complete"),
    (r"Dependency", "the jobs it needs have not completed"),
    (r"BeginTime", "its begin time has not come; a requeued job waits some seconds to two minutes"),
    (r"JobArrayTaskLimit", "as many tasks of its array run as may at once"),
    (r"JobHeldUser", "held by its owner; `scontrol release` lets it go"),
    (r"JobHeldAdmin|job requeued in held state", "held; ask the administrators of the cluster"),
    (
        r"launch failed requeued held",
        "held after its start failed on a node; `scontrol release` lets it go",
    ),
    (r"PartitionTimeLimit", "never starts: its time limit is longer than the partition allows"),
    (r"PartitionNodeLimit", "never starts: it asks for more nodes than the partition allows"),
    (r"PartitionDown|PartitionInactive", "the partition is closed"),
    (r"BadConstraints", "never starts: no node has what it asks for"),
    (
        r"InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed",
        "never starts: account or QOS not allowed",
    ),
    (
        r"ReqNodeNotAvail.*|Nodes required for job are DOWN.*",
        "the nodes it needs are down, drained, reserved or kept for others",
    ),
    (r"NodeDown", "a node it needs is down"),
    (r"Reservation.*", "its reservation has not begun"),
    (r"Licenses", "a licence it needs is in use"),
    (r"QOS(Max|Grp|Min|Usage|Job|Resource).*", "a limit of your QOS is reached"),
    (r"(Assoc|Association)(Max|Grp|Job|Resource|Time).*|MaxSubmit.*", "a limit of your account is reached"),
    (r"Cleaning", "its last attempt is being cleaned up"),
    (r"Prolog", "its nodes are being prepared"),
    (r"Deadline.*", "never starts: its deadline has passed"),
    (r"BurstBuffer.*", "its burst buffer is being prepared"),
)
"""Patterns of squeue's reasons, tried in this order; `man squeue` lists them under JOB REASON CODES."""


def reason_words(reason: str) -> str:
    """A reason in words with Slurm's own behind them, or Slurm's own alone."""
    for pattern, words in REASONS:
        if re.fullmatch(pattern, reason):
            return f"{words} ({reason})" if reason.isalnum() and reason != "None" else words
    return reason


def never_starts(reason: str | None) -> bool:
    """Whether a job that waits for this reason will wait for ever."""
    return reason is not None and reason_words(reason).startswith("never starts")
