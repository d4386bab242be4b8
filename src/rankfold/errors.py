"""Every error a user can meet: what is wrong, where, and what to do next."""

EXIT_OPERATIONAL = 1
EXIT_USER = 2
EXIT_INTERRUPTED = 75
"""sysexits' EX_TEMPFAIL: the same again, later, goes on where this stopped."""


class RankfoldError(Exception):
    """Root of all errors that rankfold raises on purpose.

    Args:
        message: What is wrong, with the value that was found and what is allowed.
        where: The file with its line (`data.jsonl:12`), the recipe field or the shard; empty if none.
        remedy: The next thing to do, as an imperative sentence; empty if the message says it all.
    """

    exit_code = EXIT_OPERATIONAL

    def __init__(self, message: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        located = f"{self.where}: {self.message}" if self.where else self.message
        return f"{located}\n  → {self.remedy}" if self.remedy else located


class UserError(RankfoldError):
    """Something the user can put right: shown without a traceback, exit code 2."""

    exit_code = EXIT_USER


class RecipeError(UserError):
    """One or more mistakes in a recipe, all reported together."""


class DataError(UserError):
    """A data file that is missing, broken or empty."""


class ModelError(UserError):
    """A model or tokenizer that cannot be found or does not fit the task."""


class OperationalError(RankfoldError):
    """Something went wrong while running: the log has the traceback, exit code 1."""


class ShardError(OperationalError):
    """A shard of the evaluation that is missing, damaged, foreign or contradictory."""


class NumericalError(OperationalError):
    """NaN or infinity where a finite number is needed; names the place it was found."""


class StoppedError(OperationalError):
    """A rank stopped at a safe point because it was asked to; what it had done is kept."""

    exit_code = EXIT_INTERRUPTED
