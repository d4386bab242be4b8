"""What has to be said beside the scores: what they count, and under which settings they came about."""

from rankfold.report.facts import ChangedSetting, MergedAgain, RunFacts, VariantFacts
from rankfold.report.formats import format_count

ENTITIES = "An entity is correct if its start, its end and its label are those of a gold entity."
UNALIGNED = "Unaligned entities are not in the text; they count as predicted and never as correct."
MACRO = "Macro scores are the mean over labels, however often each occurs."
ANSWERS = "Exact match and word overlap (F1) with the best gold answer, in percent, as SQuAD scores them."
CMRC = (
    "CMRC's scores are for Chinese, which has no spaces between words: every character counts as a word, "
    "and F1 is of the longest run that both answers share."
)
INTERVALS = (
    "A range is a 95 % bootstrap interval: how far the score moves when the test examples are drawn anew "
    "from themselves. It does not say how far it moves with another training run."
)
BEST_THRESHOLDS = (
    "The best that a null threshold could make of the answers as they are, as SQuAD's script computes it: an "
    "answer that the threshold in force has emptied stays empty. It was found with the gold answers of these "
    "same questions, so it is no result."
)


def score_notes(facts: RunFacts) -> tuple[str, ...]:
    """What the scores of the run count, then what their intervals are: a paragraph each."""
    variants = [variant for variant in (facts.base, facts.fine_tuned) if variant]
    keys = {key for variant in variants for key in variant.metrics}
    kind = facts.about_task.examples
    if kind == "answers":
        counted = [ANSWERS, *([CMRC] if "cmrc_f1" in keys else [])]
    elif kind == "entities":
        counted = [ENTITIES, *([MACRO] if "entity_macro_f1" in keys else [])]
        if facts.about_task.generates and "unaligned_rate" in keys:
            counted.append(UNALIGNED)
    else:
        counted = list(facts.about_task.notes)
    intervals = (INTERVALS,) if any(variant.intervals for variant in variants) else ()
    return (*filter(None, [" ".join(counted)]), *intervals)


def merge_notes(facts: RunFacts) -> tuple[str, ...]:
    """How the scores' settings differ from the recipe's, and which trackers do not know everything.

    One note a model, or one if they are the same.
    """
    models = {"The base model's": facts.base, "The trained model's": facts.fine_tuned}
    settings = {
        whose: _settings(variant, variant.merged_again)
        for whose, variant in models.items()
        if variant and variant.merged_again
    }
    num_evaluated = sum(variant is not None for variant in models.values())
    if len(settings) == num_evaluated and len(set(settings.values())) == 1:
        settings = {"All": next(iter(settings.values()))}
    in_training = facts.training.tracker_errors if facts.training else {}
    untold = (
        *(f"{name} was not told the whole training: {why}" for name, why in in_training.items()),
        *(f"{name} was not told these results: {why}" for name, why in facts.tracker_errors.items()),
    )
    return (
        *(f"{whose} records were merged again with {note}" for whose, note in settings.items()),
        *untold,
    )


def _settings(variant: VariantFacts, merged: MergedAgain) -> str:
    settings = ", ".join(map(_setting, merged.settings))
    if merged.num_tuned_on is None:
        return f"{settings}."
    num_scored = variant.metrics.get("total")
    others = "the others" if num_scored is None else f"the other {format_count(num_scored)}"
    return (
        f"{settings}. The threshold was chosen on {format_count(merged.num_tuned_on)} test questions; "
        f"only {others} are scored."
    )


def _setting(setting: ChangedSetting) -> str:
    known = "" if setting.in_recipe is None else f" (recipe: {setting.in_recipe})"
    return f"{setting.key} = {setting.value}{known}"
