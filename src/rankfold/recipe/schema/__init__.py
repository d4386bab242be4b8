"""What a recipe may say: every field, its type, its default and what it means.

The descriptions become the recipe reference and the JSON schema, so they are written for users.
"""

from typing import Annotated

from pydantic import Field

from rankfold.recipe.schema.data import HUB_PREFIX, Cleaning, Data, Prompt, Source, Split
from rankfold.recipe.schema.evaluation import Evaluation
from rankfold.recipe.schema.model import PACKAGE_PREFIX, RUN_PREFIX, Adapter, Model, Quantization
from rankfold.recipe.schema.resources import Distributed, Resources, StageResources
from rankfold.recipe.schema.section import NonNegativeInt, Section
from rankfold.recipe.schema.train import Distillation, Tracking, Train
from rankfold.task_facts import BUILT_IN

__all__ = [
    "HUB_PREFIX",
    "PACKAGE_PREFIX",
    "RUN_PREFIX",
    "Adapter",
    "Cleaning",
    "Data",
    "Distillation",
    "Distributed",
    "Evaluation",
    "Model",
    "Prompt",
    "Quantization",
    "Recipe",
    "Resources",
    "Section",
    "Source",
    "Split",
    "StageResources",
    "Tracking",
    "Train",
]


class Recipe(Section):
    """One fine-tuning run from data to report."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)] = Field(
        description="Short name; part of the run id. Letters, digits, `.`, `_`, `-`."
    )
    task: str = Field(
        json_schema_extra={"examples": list(BUILT_IN)},
        description="What the model learns. `text_classification`: an encoder chooses labels for a text or a "
        "pair. `token_classification`: an encoder tags the tokens of entities. `extractive_qa`: an encoder "
        "marks the answer in its context. `generative_ner`: a language model writes entities as JSON. "
        "`instruction`: a language model answers messages. `causal_lm`, `masked_lm`: continued pre-training. "
        "`seq2seq`: text to text. `denoising`: span corruption for encoder-decoders. `multiple_choice`: an "
        "encoder chooses an answer. `embedding`: an encoder brings what belongs together close. Or the name "
        "of a task that an installed package brings.",
    )
    seed: NonNegativeInt = Field(42, description="Seed of training and sampling.")
    model: Model = Field(description="The model to start from.")
    data: Data = Field(description="The examples.")
    prompt: Prompt = Field(default_factory=Prompt, description="Wording for `generative_ner`.")
    train: Train = Field(default_factory=Train, description="Training settings.")
    distributed: Distributed = Field(default_factory=Distributed, description="How ranks share the work.")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="How predictions are made and scored."
    )
    resources: Resources = Field(default_factory=Resources, description="What each stage asks for.")
    tracking: Tracking = Field(default_factory=Tracking, description="Trackers.")

    @property
    def teacher(self) -> Model | None:
        """The model to learn from, loaded as the recipe's own; None without distillation."""
        if self.train.distillation is None:
            return None
        name, _, revision = self.train.distillation.teacher.partition("@")
        return Model(
            name_or_path=name,
            revision=revision or None,
            torch_dtype=self.model.torch_dtype,
            attn_implementation=self.model.attn_implementation,
            trust_remote_code=self.model.trust_remote_code,
        )
