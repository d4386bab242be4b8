"""The model a recipe starts from, and what of it is trained."""

from typing import Annotated, Literal

from pydantic import Field

from rankfold.recipe.schema.section import NonNegativeInt, PositiveInt, Scalar, Section

RUN_PREFIX = "run:"
"""Begins the folder of an earlier run whose model is to be trained on."""

PACKAGE_PREFIX = "package:"
"""Begins the name of a model that an installed Python package ships."""


class Adapter(Section):
    """Parameter-efficient fine-tuning with PEFT; leave the section out to train every weight."""

    method: Literal["lora", "dora", "rslora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning", "full"] = (
        Field(
            "lora",
            description="PEFT method. `dora` and `rslora` are LoRA with weights decomposed, and with another "
            "scale; `full` trains every weight, as without an adapter.",
        )
    )
    r: PositiveInt = Field(8, description="LoRA, DoRA, rsLoRA: rank of the update matrices.")
    lora_alpha: PositiveInt = Field(
        16, description="LoRA, DoRA, rsLoRA: scale of the update, lora_alpha / r (rsLoRA: / √r)."
    )
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="LoRA, DoRA, rsLoRA: dropout on the adapter's input."
    )
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear", description="LoRA, DoRA, rsLoRA, IA3: names of the layers that get an adapter."
    )
    num_virtual_tokens: PositiveInt = Field(
        20, description="Prefix tuning, prompt tuning, p-tuning: learned tokens in front of every text."
    )
    encoder_hidden_size: PositiveInt | None = Field(
        None, description="P-tuning, prefix tuning: width of the network that makes the virtual tokens."
    )
    prompt_tuning_init_text: str | None = Field(
        None, description="Prompt tuning: words that the virtual tokens start from."
    )

    @property
    def trains_virtual_tokens(self) -> bool:
        """Whether it leaves the model's layers alone and puts learned tokens in front of every text."""
        return self.method in ("prefix_tuning", "prompt_tuning", "p_tuning")

    @property
    def is_lora(self) -> bool:
        """Whether it is LoRA or one of its kin."""
        return self.method in ("lora", "dora", "rslora")


class Quantization(Section):
    """A base model in few bits, which takes an adapter (QLoRA); needs bitsandbytes and a GPU."""

    bits: Literal[4, 8] = Field(4, description="Bits a weight.")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        "nf4", description="4 bits: which 16 values there are."
    )
    bnb_4bit_use_double_quant: bool = Field(True, description="4 bits: quantise the scales too.")


class Model(Section):
    """The model to start from."""

    name_or_path: str = Field(
        description="A hub id (`Qwen/Qwen2-1.5B-Instruct`), a folder (`./my-model`), "
        "`package:NAME` for a model that an installed Python package ships, or `run:FOLDER` for the model "
        "that an earlier run left in its folder, its adapter merged."
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of a hub model; empty for the default branch."
    )
    torch_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Precision the weights are loaded in."
    )
    pooling: Literal["mean", "cls", "last"] = Field(
        "mean", description="`embedding`: how the vectors of tokens become one of the text."
    )
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        None, description="Attention kernel; empty lets transformers choose."
    )
    config: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Values of the model's own configuration to override, such as "
        "`attention_probs_dropout_prob: 0.0`.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with the model. Off unless you trust it."
    )
    adapter: Adapter | None = Field(None, description="PEFT adapter; empty trains every weight.")
    quantization: Quantization | None = Field(
        None, description="Load the base model in 4 or 8 bits; empty loads it as `torch_dtype` says."
    )
    freeze: tuple[str, ...] = Field(
        (),
        description="Parameters that are not trained: patterns of their names, with `*`, such as "
        "`*embeddings*`.",
    )
    num_frozen_layers: NonNegativeInt = Field(
        0, description="Lowest transformer layers that are not trained, and the embeddings below them."
    )

    @property
    def trained_adapter(self) -> Adapter | None:
        """The adapter to train; None where every weight is trained."""
        return None if self.adapter is None or self.adapter.method == "full" else self.adapter
