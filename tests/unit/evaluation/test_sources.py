"""Encoder-decoders: sources that are read once, and sequences against one token and one pass at a time."""

from functools import wraps
from typing import Any

import pytest
import torch
from tiny_t5 import t5_model, t5_tokenizer
from torch import Tensor
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedModel, set_seed

from rankfold.errors import ModelError
from rankfold.evaluation import one_pass
from rankfold.evaluation.generation import GeneratedSequence, generate
from rankfold.evaluation.sources import kept_settings, read_sources

from .slowly import SEARCHES, settings

TOKENIZER = t5_tokenizer()
SOURCES = [
    TOKENIZER(text)["input_ids"]
    for text in ("Who lives in Ulm?", "Paul moved from Berlin to Vienna, where he paints bridges.", "Ulm")
]
FORCED = 7


def t5() -> PreTrainedModel:
    """Random weights, large enough that its tokens differ in probability."""
    model = t5_model(TOKENIZER, initializer_factor=1.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model


def bart() -> PreTrainedModel:
    """A decoder that notices where a token stands, and whose second token is never chosen."""
    set_seed(0)
    config = BartConfig(
        vocab_size=len(TOKENIZER),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        init_std=0.4,
        pad_token_id=TOKENIZER.pad_token_id,
        bos_token_id=FORCED,
        eos_token_id=TOKENIZER.eos_token_id,
        decoder_start_token_id=TOKENIZER.eos_token_id,
    )
    model = BartForConditionalGeneration(config).eval()
    model.generation_config.forced_bos_token_id = FORCED
    return model


MODELS = {"t5": t5, "bart": bart}
PREFIXES = {"t5": [0], "bart": [1, FORCED]}


@pytest.fixture(scope="module", params=MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(kind: str) -> PreTrainedModel:
    return MODELS[kind]()


def sequences(
    model: PreTrainedModel,
    sources: list[list[int]] = SOURCES,
    *,
    stop: int = 300,
    seed: int = 1,
    **values: Any,
) -> list[GeneratedSequence]:
    batches = generate(model, TOKENIZER, sources, settings(**values), stop_ids=[stop], seed=seed)
    found = [sequence for batch in batches for sequence in batch]
    return sorted(found, key=lambda sequence: (sequence.prompt, sequence.index))


@torch.inference_mode()
def next_log_probabilities(model: PreTrainedModel, source: list[int], written: list[int]) -> Tensor:
    output = model(
        input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([written]), use_cache=False
    )
    logits: Tensor = output.logits[0, -1]
    return logits.double().log_softmax(dim=0)


def log_probability(model: PreTrainedModel, source: list[int], prefix: list[int], answer: list[int]) -> float:
    return sum(
        float(next_log_probabilities(model, source, prefix + answer[:place])[token])
        for place, token in enumerate(answer)
    )


def greedy(model: PreTrainedModel, source: list[int], prefix: list[int], num_tokens: int) -> list[int]:
    ids = list(prefix)
    for _ in range(num_tokens):
        ids.append(int(next_log_probabilities(model, source, ids).argmax()))
    return ids[len(prefix) :]


def test_greedy_search_takes_the_most_probable_token_each_time(kind: str, model: PreTrainedModel) -> None:
    for source, sequence in zip(SOURCES, sequences(model), strict=True):
        expected = greedy(model, source, PREFIXES[kind], 6)
        assert len(set(expected)) > 1
        assert sequence.text == TOKENIZER.decode(expected, skip_special_tokens=True)
        assert (sequence.num_tokens, sequence.finished) == (6, False)
        total = log_probability(model, source, PREFIXES[kind], expected)
        assert sequence.log_probability == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_log_probability_is_the_sum_over_the_tokens_that_were_chosen(
    kind: str, model: PreTrainedModel, search: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Tensor] = []
    original = model.generate

    def spy(**options: Any) -> Tensor:
        written.append(original(**options))
        return written[-1]

    monkeypatch.setattr(model, "generate", spy)
    prefix = PREFIXES[kind]
    stop = greedy(model, SOURCES[1], prefix, 2)[-1]
    found = sequences(model, [SOURCES[1]], stop=stop, **search)
    assert len(found) == search.get("num_return_sequences", 1)
    for sequence, row in zip(found, written[0].tolist(), strict=True):
        assert row[: len(prefix)] == prefix
        answer = row[len(prefix) : len(prefix) + sequence.num_tokens]
        expected = log_probability(model, SOURCES[1], prefix, answer)
        assert sequence.log_probability == pytest.approx(expected, abs=1e-4)
        assert sequence.finished == (answer[-1] == stop)
        assert stop not in answer[:-1]


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_source_gets_the_same_answers_beside_longer_ones(
    model: PreTrainedModel, search: dict[str, Any]
) -> None:
    together = sequences(model, **search)
    for index, source in enumerate(SOURCES):
        if search.get("do_sample") and index:
            continue  # a source's draws depend on its index
        alone = sequences(model, [source], **search)
        same = [sequence for sequence in together if sequence.prompt == index]
        assert [one.text for one in alone] == [one.text for one in same]
        for one, other in zip(alone, same, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_the_encoder_reads_a_batch_once_for_all_its_sequences_and_their_probabilities(
    model: PreTrainedModel, search: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, ...]] = []
    encoder = model.get_encoder()
    original = encoder.forward

    @wraps(original)
    def spy(*arguments: Any, **options: Any) -> Any:
        read.append(tuple(options["input_ids"].shape))
        return original(*arguments, **options)

    monkeypatch.setattr(encoder, "forward", spy)
    sequences(model, **search)
    ((num_sources, columns),) = read
    assert num_sources == len(SOURCES)
    assert columns - max(map(len, SOURCES)) in range(8)


def test_what_the_model_was_trained_with_is_kept_and_its_style_is_not(
    kind: str, model: PreTrainedModel
) -> None:
    expected = sequences(model)
    styled = MODELS[kind]()
    styled.generation_config.update(
        repetition_penalty=50.0, no_repeat_ngram_size=1, num_beams=4, length_penalty=9.0, max_length=2
    )
    assert sequences(styled) == expected
    # Again with the configuration that the first search has left.
    assert sequences(styled) == expected
    assert read_sources(styled, SOURCES, 0).prefix.tolist() == PREFIXES[kind]


def test_words_that_a_model_must_not_write_stay_forbidden() -> None:
    model = t5()
    first = greedy(model, SOURCES[0], PREFIXES["t5"], 1)[0]
    model.generation_config.bad_words_ids = [[first]]
    assert kept_settings(model)["bad_words_ids"] == [[first]]
    without = sequences(model, SOURCES[:1])[0].text
    assert without != sequences(t5(), SOURCES[:1])[0].text


def test_log_probabilities_are_the_same_however_few_logits_fit_at_a_time(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = SEARCHES["all beams"]
    at_once = [one.log_probability for one in sequences(model, **search)]
    monkeypatch.setattr(one_pass, "LOGITS_AT_A_TIME", 1)
    assert [one.log_probability for one in sequences(model, **search)] == pytest.approx(at_once, abs=1e-4)


def test_a_decoder_without_a_start_is_refused() -> None:
    model = t5()
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = None
    with pytest.raises(ModelError, match="with which token its decoder starts"):
        read_sources(model, SOURCES, 0)
