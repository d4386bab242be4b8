import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import (
    END_OF_TURN,
    causal_model,
    chat_tokenizer,
    encoder_model,
    encoder_tokenizer,
    same_weights,
    save,
)
from torch import Tensor
from transformers import PreTrainedModel

from rankfold.errors import ModelError
from rankfold.modeling.adapters import add_adapter
from rankfold.modeling.load import load_model, load_tokenizer, load_trained
from rankfold.recipe.schema import Adapter, Model

QA = "AutoModelForQuestionAnswering"
CAUSAL = "AutoModelForCausalLM"
TAGS = "AutoModelForTokenClassification"
TAG_NAMES = {"id2label": {0: "O", 1: "B-x", 2: "I-x"}, "label2id": {"O": 0, "B-x": 1, "I-x": 2}}
IDS = torch.tensor([[5, 9, 7, 30, 11, 6]])


def settings(**values: Any) -> Model:
    return Model(name_or_path="unread", **values)


@torch.inference_mode()
def outputs(model: PreTrainedModel, name: str) -> Tensor:
    logits: Tensor = getattr(model.eval()(input_ids=IDS), name)
    return logits


def refusal(folder: Path, auto_class: str, **values: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(folder, settings(**values), auto_class)
    return caught.value


def test_a_new_head_is_told_from_what_the_files_hold(encoder_folder: Path) -> None:
    loaded = load_model(encoder_folder, settings(), QA)
    assert loaded.new_parameters == {"qa_outputs.weight", "qa_outputs.bias"}


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """New memory is NaN until something is written to it, instead of zero as it often happens to be."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("kind", ["Longformer", "FNet", "Nystromformer"])
def test_a_new_language_modelling_head_starts_from_a_guess(kind: str, tmp_path: Path) -> None:
    """transformers 5.23 leaves the bias of these heads to whatever lies in memory."""
    sizes = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32}
    of_attention = {"num_attention_heads": 2, "attention_window": [4], "segment_means_seq_len": 64}
    config = getattr(transformers, f"{kind}Config")(**sizes, **(of_attention if kind != "FNet" else {}))
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    loaded = load_model(tmp_path, settings(), "AutoModelForMaskedLM")
    assert any(name.endswith(".bias") for name in loaded.new_parameters)
    with torch.inference_mode():
        loss = loaded.model.eval()(input_ids=IDS, labels=IDS).loss
    assert loss.item() == pytest.approx(math.log(100), abs=0.5)


def test_a_new_weight_that_gets_no_first_value_is_refused(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.BertForQuestionAnswering, "_init_weights", lambda self, module: None)
    error = refusal(encoder_folder, QA)
    assert error.message.startswith("the weight qa_outputs.weight of BertForQuestionAnswering is not in")


@pytest.mark.parametrize("enabled", [False, True])
def test_loading_leaves_pytorch_as_deterministic_as_it_was(enabled: bool, encoder_folder: Path) -> None:
    torch.use_deterministic_algorithms(enabled, warn_only=enabled)
    try:
        load_model(encoder_folder, settings(), QA)
        found = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert found == (enabled, enabled)


def test_a_language_model_with_tied_embeddings_has_nothing_new(causal_folder: Path) -> None:
    assert load_model(causal_folder, settings(), CAUSAL).new_parameters == frozenset()


def test_a_new_head_is_the_same_in_every_process_that_sets_the_seed(encoder_folder: Path) -> None:
    heads = []
    for _ in range(2):
        torch.manual_seed(42)
        heads.append(outputs(load_model(encoder_folder, settings(), QA).model, "start_logits"))
    assert torch.equal(*heads)


def test_a_head_has_the_size_and_the_names_that_the_task_says(encoder_folder: Path) -> None:
    of_recipe = settings(config={"hidden_dropout_prob": 0.0, "num_labels": 7})
    model = load_model(encoder_folder, of_recipe, TAGS, TAG_NAMES).model
    assert outputs(model, "logits").shape == (1, 6, 3)
    assert model.config.id2label == TAG_NAMES["id2label"]
    assert model.config.hidden_dropout_prob == 0.0


def test_a_head_for_other_labels_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    save(load_model(encoder_folder, settings(), TAGS, TAG_NAMES).model, encoder_tokenizer(), tmp_path)
    with pytest.raises(ModelError, match=r"classifier\.bias is \[3\] in .*, but \[2\]") as caught:
        load_model(tmp_path, settings(), TAGS, {"id2label": {0: "O", 1: "B-x"}})
    assert "a model without a head for other labels" in caught.value.remedy


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_have_the_precision_of_the_recipe(causal_folder: Path, dtype: str) -> None:
    model = load_model(causal_folder, settings(torch_dtype=dtype), CAUSAL).model
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}


def test_settings_of_the_configuration_take_effect(encoder_folder: Path) -> None:
    model = load_model(encoder_folder, settings(config={"attention_probs_dropout_prob": 0.0}), QA).model
    assert model.config.attention_probs_dropout_prob == 0.0
    rates = {
        layer.p
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Dropout) and "attention.self" in name
    }
    assert rates == {0.0}


def test_the_attention_kernel_is_the_one_asked_for(causal_folder: Path) -> None:
    model = load_model(causal_folder, settings(attn_implementation="eager"), CAUSAL).model
    assert model.config._attn_implementation == "eager"


def test_a_setting_that_the_model_does_not_know_is_refused(causal_folder: Path) -> None:
    error = refusal(causal_folder, CAUSAL, config={"hidden_sice": 64})
    assert "hidden_sice" in error.message
    assert "model.config" in error.remedy


def test_a_weight_of_another_shape_is_named_with_both_shapes(causal_folder: Path) -> None:
    error = refusal(causal_folder, CAUSAL, config={"intermediate_size": 48})
    assert "model.layers.0.mlp.down_proj.weight is [32, 64]" in error.message
    assert "but [32, 48] in the model" in error.message


def test_a_damaged_file_is_refused(causal_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(causal_folder, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert str(folder) in refusal(folder, CAUSAL).message


def test_a_model_whose_weights_have_other_names_is_not_left_to_chance(causal_folder: Path) -> None:
    # transformers' Qwen2ForQuestionAnswering looks for `transformer.…`, the files have `model.…`.
    error = refusal(causal_folder, QA)
    assert "of Qwen2ForQuestionAnswering are not in" in error.message


def test_an_architecture_without_the_task_is_refused(tmp_path: Path) -> None:
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert "AutoModelForCausalLM cannot load" in refusal(tmp_path, CAUSAL).message


def test_code_that_comes_with_a_model_is_not_run_unless_the_recipe_says_so(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    original = transformers.AutoModelForQuestionAnswering.from_pretrained

    def spy(folder: Path, **options: Any) -> Any:
        given.append(options["trust_remote_code"])
        return original(folder, **options)

    monkeypatch.setattr(transformers.AutoModelForQuestionAnswering, "from_pretrained", spy)
    load_model(encoder_folder, settings(), QA)
    load_model(encoder_folder, settings(trust_remote_code=True), QA)
    assert given == [False, True]


def test_code_that_comes_with_a_tokenizer_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: pass\n")
    (tmp_path / "config.json").write_text('{"model_type": "unknown"}')
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", null]}}'
    )
    with pytest.raises(ModelError, match="no tokenizer can be loaded"):
        load_tokenizer(tmp_path)
    assert not mark.exists()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    causal_model(chat_tokenizer()).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no tokenizer can be loaded"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == END_OF_TURN


def test_a_tokenizer_that_has_nothing_to_pad_with_is_refused(tmp_path: Path) -> None:
    tokenizer = encoder_tokenizer(None)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="neither a padding nor an end-of-text token"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_character_offsets_is_refused(
    causal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.PreTrainedTokenizerFast, "is_fast", property(lambda _: False))
    with pytest.raises(ModelError, match="no fast version"):
        load_tokenizer(causal_folder)


def with_random_adapter(folder: Path, auto_class: str, peft_task_type: str) -> Any:
    """A base model with an adapter that changes it; a fresh one changes nothing."""
    model = add_adapter(load_model(folder, settings(), auto_class).model, Adapter(r=4), peft_task_type)
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_a_merged_adapter_gives_the_logits_of_the_unmerged_one(causal_folder: Path, tmp_path: Path) -> None:
    trained = with_random_adapter(causal_folder, CAUSAL, "CAUSAL_LM")
    trained.save_pretrained(tmp_path)
    merged = load_trained(causal_folder, tmp_path, settings(), CAUSAL)
    base = load_model(causal_folder, settings(), CAUSAL).model
    expected = outputs(trained, "logits")
    torch.testing.assert_close(outputs(merged, "logits"), expected, rtol=1e-4, atol=1e-4)
    assert (outputs(base, "logits") - expected).abs().max() > 0.1
    assert not any("lora" in name for name, _ in merged.named_modules())


def test_a_head_trained_beside_an_adapter_is_loaded_with_it(encoder_folder: Path, tmp_path: Path) -> None:
    trained = with_random_adapter(encoder_folder, QA, "QUESTION_ANS")
    trained.save_pretrained(tmp_path)
    for seed in (1, 2):
        torch.manual_seed(seed)
        merged = load_trained(encoder_folder, tmp_path, settings(), QA)
        torch.testing.assert_close(
            outputs(merged, "start_logits"), outputs(trained, "start_logits"), rtol=1e-4, atol=1e-4
        )


def test_tags_trained_beside_an_adapter_are_loaded_with_it(encoder_folder: Path, tmp_path: Path) -> None:
    base = load_model(encoder_folder, settings(), TAGS, TAG_NAMES).model
    trained: Any = add_adapter(base, Adapter(r=4), "TOKEN_CLS")
    torch.manual_seed(3)
    for parameter in trained.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    trained.save_pretrained(tmp_path)
    merged = load_trained(encoder_folder, tmp_path, settings(), TAGS, TAG_NAMES)
    torch.testing.assert_close(outputs(merged, "logits"), outputs(trained, "logits"), rtol=1e-4, atol=1e-4)


def test_a_model_trained_in_full_needs_nothing_of_its_base(tmp_path: Path) -> None:
    save(causal_model(chat_tokenizer()), chat_tokenizer(), tmp_path / "trained")
    loaded = load_trained(tmp_path / "no base", tmp_path / "trained", settings(), CAUSAL)
    loaded.save_pretrained(tmp_path / "again")
    assert same_weights(tmp_path / "trained", tmp_path / "again")


def test_distilbert_gets_a_head_of_its_own_kind(tmp_path: Path) -> None:
    tokenizer = encoder_tokenizer()
    save(encoder_model(tokenizer, kind="distilbert"), tokenizer, tmp_path)
    loaded = load_model(tmp_path, settings(), QA)
    assert loaded.new_parameters == {"qa_outputs.weight", "qa_outputs.bias"}
    assert type(loaded.model).__name__ == "DistilBertForQuestionAnswering"
