"""Generation against a slow way of doing the same: one prompt, one token, one whole pass at a time."""

import math
from typing import Any

import pytest
import torch
from models import absolute_causal_model, causal_model
from torch import Tensor
from transformers import PreTrainedModel

from rankfold.evaluation import one_pass
from rankfold.evaluation.generation import generate

from .slowly import (
    NEVER,
    PROMPTS,
    SEARCHES,
    TOKENIZER,
    answers,
    greedy,
    log_probability,
    sequences,
    settings,
)


def test_greedy_search_takes_the_most_probable_token_each_time(model: PreTrainedModel) -> None:
    for prompt, sequence in zip(PROMPTS, sequences(model), strict=True):
        expected = greedy(model, prompt, 6)
        assert sequence.text == TOKENIZER.decode(expected, skip_special_tokens=True)
        assert sequence.log_probability == pytest.approx(log_probability(model, prompt, expected), abs=1e-4)
        assert (sequence.num_tokens, sequence.finished) == (6, False)


@pytest.mark.parametrize(
    "search",
    [
        {"num_beams": 3, "num_return_sequences": 3},
        {"do_sample": True, "num_return_sequences": 4, "temperature": 0.7, "top_p": 0.9},
    ],
    ids=["beams", "samples"],
)
def test_a_log_probability_is_the_sum_over_the_tokens_of_the_plain_model(
    model: PreTrainedModel, written: list[Tensor], search: dict[str, Any]
) -> None:
    prompt = PROMPTS[1]
    stop = greedy(model, prompt, 2)[-1:]
    found = sequences(model, [prompt], stop_ids=stop, **search)
    ids = answers(written, [prompt], iter([sequence.num_tokens for sequence in found]))
    assert len(found) == search["num_return_sequences"]
    for sequence, answer in zip(found, ids, strict=True):
        assert sequence.log_probability == pytest.approx(log_probability(model, prompt, answer), abs=1e-4)
        assert sequence.finished == (answer[-1] in stop)
        assert not set(answer[:-1]) & set(stop)
        assert sequence.text == TOKENIZER.decode(answer, skip_special_tokens=True)


def test_a_sequence_ends_with_its_stop_token_which_counts(model: PreTrainedModel) -> None:
    prompt = PROMPTS[1]
    first, second = greedy(model, prompt, 2)
    assert first != second
    (sequence,) = sequences(model, [prompt], stop_ids=[second])
    expected = log_probability(model, prompt, [first, second])
    assert (sequence.num_tokens, sequence.finished) == (2, True)
    assert sequence.log_probability == pytest.approx(expected, abs=1e-4)


def test_the_sequence_that_ends_first_is_not_charged_for_the_padding_behind_it(
    model: PreTrainedModel, written: list[Tensor]
) -> None:
    stop = greedy(model, PROMPTS[0], 1)
    found = sequences(model, PROMPTS, stop_ids=stop)
    assert found[0].num_tokens == 1
    assert max(sequence.num_tokens for sequence in found) > 1
    assert found[0].log_probability == pytest.approx(log_probability(model, PROMPTS[0], stop), abs=1e-4)


@pytest.mark.parametrize("search", [{}, {"num_beams": 3, "num_return_sequences": 2}])
def test_a_short_prompt_gets_the_same_answer_beside_longer_ones(
    model: PreTrainedModel, search: dict[str, Any]
) -> None:
    together = sequences(model, **search)
    for index, prompt in enumerate(PROMPTS):
        alone = sequences(model, [prompt], **search)
        same = [sequence for sequence in together if sequence.prompt == index]
        assert [one.text for one in alone] == [one.text for one in same]
        for one, other in zip(alone, same, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


def test_padding_moves_no_token_of_a_model_that_notices_where_a_token_stands() -> None:
    model = absolute_causal_model(TOKENIZER)
    for index, sequence in enumerate(sequences(model)):
        expected = greedy(model, PROMPTS[index], 6)
        assert sequence.text == TOKENIZER.decode(expected, skip_special_tokens=True)
        assert sequence.log_probability == pytest.approx(
            log_probability(model, PROMPTS[index], expected), abs=1e-4
        )


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_model_that_says_nan_is_told_by_the_log_probability(search: dict[str, Any]) -> None:
    model = causal_model(TOKENIZER)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(math.nan)
    assert all(math.isnan(one.log_probability) for one in sequences(model, **search))


def test_log_probabilities_are_the_same_however_few_logits_fit_at_a_time(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    search: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 3}
    at_once = sequences(model, **search)
    monkeypatch.setattr(one_pass, "LOGITS_AT_A_TIME", 1)
    assert [one.log_probability for one in sequences(model, **search)] == pytest.approx(
        [one.log_probability for one in at_once], abs=1e-4
    )


def test_the_longest_prompts_come_first_so_that_memory_runs_out_at_once_or_never(
    model: PreTrainedModel,
) -> None:
    one_at_a_time = settings(per_device_eval_batch_size=1)
    batches = list(generate(model, TOKENIZER, PROMPTS, one_at_a_time, stop_ids=NEVER, seed=1))
    lengths = [len(PROMPTS[sequence.prompt]) for (sequence,) in batches]
    assert lengths == sorted(map(len, PROMPTS), reverse=True)


def test_a_model_s_own_settings_for_chatting_are_not_used() -> None:
    plain, chatty = causal_model(TOKENIZER), causal_model(TOKENIZER)
    chatty.generation_config.update(
        repetition_penalty=50.0, no_repeat_ngram_size=1, do_sample=True, temperature=9.0, min_new_tokens=5
    )
    stop = greedy(plain, PROMPTS[0], 2)[-1:]
    for beams in (1, 2):
        expected = sequences(plain, stop_ids=stop, num_beams=beams)
        assert sequences(chatty, stop_ids=stop, num_beams=beams) == expected


def test_all_is_finite_and_beams_are_ordered_by_their_length_normalised_score(
    model: PreTrainedModel,
) -> None:
    found = sequences(model, num_beams=4, num_return_sequences=4)
    assert all(math.isfinite(sequence.log_probability) for sequence in found)
    # Nothing stopped early, so all are of one length and the order is that of the sums.
    for prompt in range(len(PROMPTS)):
        scores = [one.log_probability for one in found if one.prompt == prompt]
        assert scores == sorted(scores, reverse=True)
