"""How a recipe's predictions are made and scored."""

from typing import Annotated, Literal

from pydantic import Field

from rankfold.recipe.schema.section import NonNegativeInt, PositiveFloat, PositiveInt, Section


class Evaluation(Section):
    """How predictions are made and scored."""

    baseline: bool = Field(
        True, description="Evaluate the model before training too, to show what training brought."
    )
    shards: PositiveInt = Field(1, description="Independent jobs the evaluation is divided into.")
    unit_size: PositiveInt = Field(
        64,
        description="Windows or texts in a work unit: the grain of batching, resuming and sharding.",
    )
    per_device_eval_batch_size: PositiveInt = Field(16, description="Windows or texts in a batch.")
    merge_shards: PositiveInt = Field(
        1, description="Independent jobs the merge is divided into, by ranges of examples."
    )
    n_best_size: Annotated[int, Field(ge=1, le=20)] = Field(20, description="Candidates kept per example.")
    max_answer_length: PositiveInt = Field(
        30,
        description="Longest span of an answer or of an n-best entity, in tokens (in words where "
        "`label_all_tokens` is off).",
    )
    decoding_strategy: Literal["constrained", "argmax"] = Field(
        "constrained",
        description="`token_classification`: the best sequence of tags that the BIO scheme allows, or each "
        "token's best tag by itself.",
    )
    version_2_with_negative: bool | None = Field(
        None, description="SQuAD v2: questions may have no answer. Empty: as the data says."
    )
    null_score_diff_threshold: float = Field(
        0.0, description='SQuAD v2: answer "" where null score − best score is above this.'
    )
    multi_label_threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="`data.multi_label`: give every label with at least this probability."
    )
    num_bootstrap_resamples: NonNegativeInt = Field(
        1000, description="Resamples behind the 95 % confidence intervals of the scores; 0 leaves them out."
    )
    max_new_tokens: PositiveInt = Field(256, description="Longest generated answer, in tokens.")
    num_return_sequences: PositiveInt = Field(
        1, description="Sequences generated per text, from which n-best spans are built."
    )
    num_beams: PositiveInt = Field(
        1,
        description="Beams; at least num_return_sequences, or sample. Left out while not sampling: "
        "num_return_sequences.",
    )
    do_sample: bool = Field(False, description="Sample sequences instead of searching beams.")
    temperature: PositiveFloat = Field(1.0, description="Temperature of sampling.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus of sampling.")
