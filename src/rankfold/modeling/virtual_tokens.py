"""Learned tokens, or keys and values, in front of every text, invisible to whoever calls the model.

PEFT's own forward passes of prompt learning return logits of the virtual tokens too, drop `position_ids`
and shift what labels mean. Here hooks on the model's backbone put the virtual tokens in and take their
outputs out, so that a batch, its labels, its positions and its logits mean what they mean without them, in
training and in evaluation alike.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, PeftType, PrefixTuningConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Embedding, Module
from transformers import DynamicCache, PreTrainedModel

from rankfold.errors import ModelError

ENCODER_FILE = "prompt_encoder.tensors"
"""Safetensors of the network that makes the virtual tokens: a checkpoint goes on from it."""

Prompt = Callable[[], Any]
"""Makes (1, virtual tokens, hidden) embeddings, or a DynamicCache of one text's keys and values.

Always of one text: as they are saved, so that what was trained is evaluated to the last bit.
"""

_POSITION_TABLES = ("position_embeddings", "wpe", "embed_positions")


class VirtualTokenModel(PeftModel):  # type: ignore[misc]
    """A PeftModel of a prompt-learning method whose forward pass is the base model's, hooks and all.

    Raises:
        ModelError: A prefix of keys and values, for a model whose attention takes none.
    """

    def __init__(self, model: PreTrainedModel, peft_config: PeftConfig, *args: Any, **options: Any) -> None:
        is_prefix = isinstance(peft_config, PrefixTuningConfig)
        if is_prefix:
            _check_takes_prefix(model)
        super().__init__(model, peft_config, *args, **options)
        put_in_front(model, lambda: self.get_prompt(1), peft_config.num_virtual_tokens, is_prefix=is_prefix)
        if self._has_encoder:
            # What is saved under PEFT's name is what the network makes; it cannot be turned back.
            self.prompt_encoder[self.active_adapter]._load_adapter_state_dict = lambda state: None

    @property
    def _has_encoder(self) -> bool:
        """Whether a network makes the virtual tokens; one that was loaded for inference has them alone."""
        config = self.active_peft_config
        reparametrised = config.peft_type == PeftType.P_TUNING or getattr(config, "prefix_projection", False)
        return bool(reparametrised and not config.inference_mode)

    def save_pretrained(self, save_directory: str, **options: Any) -> None:
        """Save as PEFT does, and beside it what a checkpoint needs to go on."""
        super().save_pretrained(save_directory, **options)
        if self._has_encoder and options.get("is_main_process", True):
            state = self.prompt_encoder[self.active_adapter].state_dict()
            tensors = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
            save_file(tensors, Path(save_directory) / ENCODER_FILE)

    def load_adapter(self, model_id: Any, adapter_name: str, **options: Any) -> Any:
        """Take up a checkpoint of this model."""
        result = super().load_adapter(model_id, adapter_name, **options)
        if self._has_encoder:
            self.prompt_encoder[adapter_name].load_state_dict(load_file(Path(model_id) / ENCODER_FILE))
        return result


def load_virtual_tokens(model: PreTrainedModel, trained: Path) -> PreTrainedModel:
    """Put what a run trained in front of every text of its base model; returns the base model."""
    config = PeftConfig.from_pretrained(trained)
    # Without it PEFT would choose a class whose forward pass is its own.
    config.task_type = None
    VirtualTokenModel.from_pretrained(model, trained, config=config)
    return model


class TextCache(DynamicCache):  # type: ignore[misc]
    """Keys and values that count the tokens of texts alone; the model sees it as a DynamicCache.

    `generate` takes from its length how much of a text was read.
    """

    num_virtual: int

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return max(int(super().get_seq_length(layer_idx)) - self.num_virtual, 0)


def put_in_front(model: PreTrainedModel, prompt: Prompt, num_virtual: int, *, is_prefix: bool) -> None:
    """Have `model` read virtual tokens before every text from now on."""
    if model.config.is_encoder_decoder:
        encoder = model.get_encoder()
        _Front(encoder, prompt, num_virtual, is_prefix=False, keeps_outputs=True).attach()
        model.register_forward_pre_hook(_widen_cross_attention(num_virtual), with_kwargs=True)
        return
    _Front(model.base_model, prompt, num_virtual, is_prefix=is_prefix, keeps_outputs=False).attach()


def _check_takes_prefix(model: PreTrainedModel) -> None:
    takes_cache = "past_key_values" in inspect.signature(model.base_model.forward).parameters
    # In an encoder-decoder only the decoder has a cache, and T5's counts positions by its length.
    if model.config.is_encoder_decoder or not takes_cache:
        raise ModelError(
            f"{type(model).__name__} takes no keys and values in front of its text, as prefix_tuning makes",
            where="model.adapter.method",
            remedy="Use prompt_tuning, p_tuning or lora.",
        )


class _Front:
    """The hooks before and after a backbone's forward pass."""

    def __init__(
        self, backbone: Any, prompt: Prompt, num_virtual: int, *, is_prefix: bool, keeps_outputs: bool
    ) -> None:
        self._backbone = backbone
        self._embeddings: Any = backbone.get_input_embeddings()
        self._pooler: Any = getattr(backbone, "pooler", None)
        self._prompt = prompt
        self._num = num_virtual
        self._is_prefix = is_prefix
        self._keeps_outputs = keeps_outputs
        self._signature = inspect.signature(self._backbone.forward)
        self._max_length = _max_length(backbone)

    def attach(self) -> None:
        self._backbone.register_forward_pre_hook(self._before, with_kwargs=True)
        self._backbone.register_forward_hook(self._after, with_kwargs=True)

    def _before(self, module: Module, args: Any, kwargs: Any) -> tuple[tuple[()], dict[str, Any]]:
        given = dict(self._signature.bind_partial(*args, **kwargs).arguments)
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(name, {})
        cache = given.get("past_key_values")
        if isinstance(cache, TextCache):
            cache.__class__ = DynamicCache
        ids = given["input_ids"]
        given["attention_mask"] = self._mask(given.get("attention_mask"), ids, cache)
        if (positions := given.get("position_ids")) is not None:
            given["position_ids"] = positions + self._num
        if cache is None or cache.get_seq_length() == 0:
            self._check_length(ids)
            given |= self._prefix(ids, cache) if self._is_prefix else self._tokens(given)
        return (), given

    def _mask(self, mask: Tensor | None, ids: Tensor, cache: DynamicCache | None) -> Tensor:
        """The attention mask of texts with the virtual tokens in front, which are never padding."""
        if mask is None:
            read = 0 if cache is None else max(cache.get_seq_length() - self._num, 0)
            mask = ids.new_ones(ids.shape[0], read + ids.shape[1])
        elif self._keeps_outputs and mask.shape[1] != ids.shape[1]:
            return mask
        return torch.cat([mask.new_ones(len(mask), self._num), mask], dim=1)

    def _tokens(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Embeddings instead of ids, and what belongs to each token, with the virtual ones in front."""
        ids = given["input_ids"]
        texts = self._embeddings(ids)
        virtual = self._prompt().to(device=texts.device, dtype=texts.dtype).expand(len(ids), -1, -1)
        found = {"input_ids": None, "inputs_embeds": torch.cat([virtual, texts], dim=1)}
        if (kinds := given.get("token_type_ids")) is not None:
            found["token_type_ids"] = torch.cat([kinds.new_zeros(len(ids), self._num), kinds], dim=1)
        if (positions := given.get("position_ids")) is not None:
            first = torch.arange(self._num, device=ids.device).expand(len(positions), -1)
            found["position_ids"] = torch.cat([first, positions], dim=1)
        return found

    def _prefix(self, ids: Tensor, cache: DynamicCache | None) -> dict[str, Any]:
        """A cache that begins with the learned keys and values."""
        if cache is None:
            cache = DynamicCache(config=self._backbone.config)
        for index, layer in enumerate(self._prompt().layers):
            keys, values = (
                part.to(device=ids.device, dtype=self._embeddings.weight.dtype).expand(len(ids), -1, -1, -1)
                for part in (layer.keys, layer.values)
            )
            cache.update(keys, values, index)
        return {"past_key_values": cache}

    def _check_length(self, ids: Tensor) -> None:
        if self._max_length is not None and ids.shape[1] + self._num > self._max_length:
            raise ModelError(
                f"a text of {ids.shape[1]} tokens and {self._num} virtual ones are more than the model's "
                f"{self._max_length} positions",
                where="data.max_length",
                remedy="Lower data.max_length, or model.adapter.num_virtual_tokens.",
            )

    def _after(self, module: Module, args: Any, kwargs: Any, output: Any) -> Any:
        cache = output.get("past_key_values")
        if type(cache) is DynamicCache:
            cache.__class__ = TextCache
            cache.num_virtual = self._num
        if kwargs.get("inputs_embeds") is not None and not self._keeps_outputs:
            output.last_hidden_state = output.last_hidden_state[:, self._num :].contiguous()
            if output.get("pooler_output") is not None:
                output.pooler_output = self._pooler(output.last_hidden_state)
        return output


def _widen_cross_attention(num_virtual: int) -> Callable[[Module, Any, Any], tuple[Any, Any]]:
    """The decoder attends to the virtual tokens before the source too."""

    def widen(module: Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        mask = kwargs.get("attention_mask")
        if mask is not None:
            kwargs = {
                **kwargs,
                "attention_mask": torch.cat([mask.new_ones(len(mask), num_virtual), mask], dim=1),
            }
        return args, kwargs

    return widen


def _max_length(backbone: Module) -> int | None:
    """Tokens a model with a table of positions can read; None where positions are computed."""
    for name, module in backbone.named_modules():
        if isinstance(module, Embedding) and name.rsplit(".", 1)[-1] in _POSITION_TABLES:
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None
