from pathlib import Path
from typing import Any

import pytest
import torch
from models import chat_tokenizer, encoder_model, encoder_tokenizer, save
from tiny_t5 import t5_model, t5_tokenizer
from transformers import PreTrainedModel

from rankfold.errors import ModelError
from rankfold.modeling.adapters import add_adapter, count_parameters
from rankfold.modeling.load import load_model, load_trained
from rankfold.recipe.schema import Adapter, Model
from rankfold.training.save import check_saved


@pytest.fixture
def model(causal_folder: Path) -> PreTrainedModel:
    return load_model(causal_folder, Model(name_or_path="unread"), "AutoModelForCausalLM").model


def trainable(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_only_the_named_layers_are_trained(model: PreTrainedModel) -> None:
    adapted = add_adapter(model, Adapter(r=2, target_modules=("q_proj", "v_proj")), "CAUSAL_LM")
    names = trainable(adapted)
    assert len(names) == 2 * 2 * 2  # layers × targets × (A, B)
    assert all("lora_" in name and (".q_proj." in name or ".v_proj." in name) for name in names)


def test_all_linear_means_every_linear_layer_but_the_output(model: PreTrainedModel) -> None:
    names = trainable(add_adapter(model, Adapter(r=2), "CAUSAL_LM"))
    assert len(names) == 2 * 7 * 2
    assert not any("lm_head" in name or "embed" in name for name in names)


def test_the_adapter_s_settings_take_effect(model: PreTrainedModel) -> None:
    adapted = add_adapter(model, Adapter(r=3, lora_alpha=12, lora_dropout=0.25), "CAUSAL_LM")
    layer = adapted.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    assert layer.r["default"] == 3
    assert layer.scaling["default"] == 4.0
    assert layer.lora_dropout["default"].p == 0.25


@pytest.mark.parametrize("targets", [("k_porj",), ("q_proj", "k_porj"), ("proj",)])
def test_a_layer_that_the_model_does_not_have_is_refused_even_beside_others(
    model: PreTrainedModel, targets: tuple[str, ...]
) -> None:
    with pytest.raises(ModelError) as caught:
        add_adapter(model, Adapter(target_modules=targets), "CAUSAL_LM")
    assert caught.value.message == f"the model has no layer named {targets[-1]}"
    assert "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj" in caught.value.remedy


def test_a_layer_that_takes_no_adapter_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ModelError, match="no adapter could be added") as caught:
        add_adapter(model, Adapter(target_modules=("act_fn",)), "CAUSAL_LM")
    assert "q_proj" in caught.value.remedy


def test_a_layer_may_be_named_with_what_stands_before_it(model: PreTrainedModel) -> None:
    names = trainable(add_adapter(model, Adapter(target_modules=("self_attn.q_proj",)), "CAUSAL_LM"))
    assert len(names) == 2 * 2


def test_parameters_are_counted_with_the_tied_ones_once(model: PreTrainedModel) -> None:
    total = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(model) == (total, total)
    adapted = add_adapter(model, Adapter(r=2, target_modules=("q_proj",)), "CAUSAL_LM")
    new = 2 * 2 * (32 + 32)
    assert count_parameters(adapted) == (new, total + new)


IDS = torch.tensor([[5, 9, 7, 30, 11, 6], [8, 9, 10, 3, 2, 1]])
KINDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "causal": ("causal", "AutoModelForCausalLM", "CAUSAL_LM", {"labels": IDS}),
    "tags": ("encoder", "AutoModelForTokenClassification", "TOKEN_CLS", {"labels": IDS % 2}),
    "classes": (
        "encoder",
        "AutoModelForSequenceClassification",
        "SEQ_CLS",
        {"labels": torch.tensor([0, 1])},
    ),
    "distilbert's classes": (
        "distilbert",
        "AutoModelForSequenceClassification",
        "SEQ_CLS",
        {"labels": torch.tensor([0, 1])},
    ),
    "answers": (
        "encoder",
        "AutoModelForQuestionAnswering",
        "QUESTION_ANS",
        {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([1, 3])},
    ),
    "guesses": ("encoder", "AutoModelForMaskedLM", "FEATURE_EXTRACTION", {"labels": IDS}),
    "vectors": ("encoder", "AutoModel", "FEATURE_EXTRACTION", {}),
    "text to text": ("t5", "AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM", {"labels": IDS}),
}
LAYERS = ("lora", "dora", "rslora", "ia3")
VIRTUAL = ("prefix_tuning", "prompt_tuning", "p_tuning")


@pytest.fixture(scope="module")
def folders(
    causal_folder: Path, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    reader, writer = encoder_tokenizer(), t5_tokenizer()
    other = tmp_path_factory.mktemp("distilbert")
    return {
        "causal": causal_folder,
        "encoder": encoder_folder,
        "distilbert": save(encoder_model(reader, kind="distilbert"), reader, other),
        "t5": save(t5_model(writer), writer, tmp_path_factory.mktemp("t5")),
    }


def adapted(folder: Path, kind: str, method: str, **settings: Any) -> Any:
    _, auto_class, task_type, _ = KINDS[kind]
    torch.manual_seed(0)
    loaded = load_model(folder, Model(name_or_path="unread"), auto_class)
    if method in VIRTUAL:
        settings["num_virtual_tokens"] = 3
    adapter = Adapter.model_validate({"method": method, **settings})
    return add_adapter(loaded.model, adapter, task_type, new_parameters=loaded.new_parameters)


def said(model: Any, kind: str) -> dict[str, torch.Tensor]:
    output = model(input_ids=IDS, attention_mask=torch.ones_like(IDS), **KINDS[kind][3])
    names = ("loss", "logits", "start_logits", "end_logits", "last_hidden_state")
    return {name: output[name] for name in names if output.get(name) is not None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [*LAYERS, *VIRTUAL])
def test_a_method_reaches_all_that_it_trains_is_saved_whole_and_read_back(
    kind: str, method: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders[KINDS[kind][0]]
    if method == "prefix_tuning" and kind in ("text to text", "distilbert's classes"):
        with pytest.raises(ModelError, match="takes no keys and values in front of its text"):
            adapted(folder, kind, method)
        return
    model = adapted(folder, kind, method)
    outputs = said(model, kind)
    loss = outputs["loss"] if "loss" in outputs else outputs["last_hidden_state"].square().sum()
    torch.autograd.backward(loss)
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.01 * torch.ones_like(parameter)
    model.eval().save_pretrained(tmp_path)
    check_saved(tmp_path, model)
    torch.manual_seed(1)
    again = load_trained(folder, tmp_path, Model(name_or_path="unread"), KINDS[kind][1]).eval()
    with torch.no_grad():
        before, after = said(model, kind), said(again, kind)
    for name, value in before.items():
        if method in VIRTUAL:
            assert torch.equal(after[name], value), name
        else:
            torch.testing.assert_close(after[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["lora", "prompt_tuning", "p_tuning"])
def test_text_is_written_as_the_decoder_was_trained_to(
    method: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = adapted(folders["t5"], "text to text", method)
    model.save_pretrained(tmp_path)
    again = load_trained(
        folders["t5"], tmp_path, Model(name_or_path="unread"), "AutoModelForSeq2SeqLM"
    ).eval()
    mask = torch.ones_like(IDS)
    mask[0, 4:] = 0
    written = again.generate(
        input_ids=IDS, attention_mask=mask, max_new_tokens=5, num_beams=1, do_sample=False
    )
    with torch.no_grad():
        scores = again(input_ids=IDS, attention_mask=mask, decoder_input_ids=written[:, :-1]).logits
    # Step by step, with a cache, the likeliest token is the one of a single pass without.
    ended = (written == again.config.eos_token_id).cumsum(dim=1)[:, :-1] > 0
    assert torch.equal(scores.argmax(dim=2)[~ended], written[:, 1:][~ended])


def test_dora_and_rslora_are_what_they_are_called(folders: dict[str, Path]) -> None:
    at = "base_model.model.model.layers.0.self_attn.q_proj"
    dora = adapted(folders["causal"], "causal", "dora", r=4, lora_alpha=8)
    assert dora.get_submodule(at).use_dora["default"]
    assert any("lora_magnitude_vector" in name for name in trainable(dora))
    rslora = adapted(folders["causal"], "causal", "rslora", r=4, lora_alpha=8)
    assert rslora.get_submodule(at).scaling["default"] == 8 / 4**0.5


def test_ia3_scales_outputs_and_the_input_of_the_layer_that_leaves_the_middle(
    folders: dict[str, Path],
) -> None:
    model = adapted(folders["causal"], "causal", "ia3", target_modules=("k_proj", "v_proj", "down_proj"))
    sizes = {name.split(".")[-3]: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sizes == {"k_proj": 16, "v_proj": 16, "down_proj": 64}
    assert len(trainable(model)) == 2 * 3


def test_virtual_tokens_start_from_the_words_of_the_recipe(folders: dict[str, Path]) -> None:
    tokenizer = chat_tokenizer()
    words = "Where does the river end?"
    ids = tokenizer(words)["input_ids"]
    model = load_model(folders["causal"], Model(name_or_path="unread"), "AutoModelForCausalLM").model
    adapter = Adapter(method="prompt_tuning", num_virtual_tokens=len(ids) + 2, prompt_tuning_init_text=words)
    prompted = add_adapter(model, adapter, "CAUSAL_LM", tokenizer=tokenizer)
    start = prompted.prompt_encoder["default"].embedding.weight
    assert torch.equal(start, model.get_input_embeddings().weight[[*ids, *ids[:2]]])


def test_prefixes_made_by_a_network_are_saved_as_what_it_makes(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    model = adapted(folders["causal"], "causal", "prefix_tuning", encoder_hidden_size=8).eval()
    assert any("transform" in name for name in trainable(model))
    model.save_pretrained(tmp_path)
    check_saved(tmp_path, model)
    again = load_trained(folders["causal"], tmp_path, Model(name_or_path="unread"), KINDS["causal"][1]).eval()
    with torch.no_grad():
        assert torch.equal(said(model, "causal")["logits"], said(again, "causal")["logits"])


def test_a_layer_that_the_files_did_not_hold_is_trained_beside_the_adapter(
    folders: dict[str, Path],
) -> None:
    model = adapted(folders["distilbert"], "distilbert's classes", "lora")
    names = {name.split(".modules_to_save")[0] for name in trainable(model) if "modules_to_save" in name}
    assert names == {"base_model.model.pre_classifier", "base_model.model.classifier"}
