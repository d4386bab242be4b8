"""The data sets that ship with the recipes are what their README promises."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from rankfold.data.examples import Answer, EntityExample, QuestionExample, Span

Example = TypeVar("Example", EntityExample, QuestionExample)
SIDES = ("train", "test")
LABELS = {"person", "place", "organisation"}
ARTICLES = {"the", "a", "an"}
TITLES = {"mr", "mrs", "ms", "dr", "professor", "king", "queen", "judge", "captain", "aunt"}
PUNCTUATION = " \t\n.,;:!?\"'()[]"


@pytest.fixture(scope="module")
def sentences(repository: Path) -> dict[str, list[EntityExample]]:
    """The sentences of the two NER files, by side."""
    folder = repository / "recipes" / "data"
    return {side: list(read_sentences(folder / f"quickstart_ner_{side}.jsonl")) for side in SIDES}


@pytest.fixture(scope="module")
def questions(repository: Path) -> dict[str, list[QuestionExample]]:
    """The questions of the two QA files, by side."""
    folder = repository / "recipes" / "data"
    return {side: list(read_questions(folder / f"quickstart_qa_{side}.json")) for side in SIDES}


def read_sentences(path: Path) -> Iterator[EntityExample]:
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        yield EntityExample(row["id"], row["text"], tuple(Span(**span) for span in row["entities"]))


def read_questions(path: Path) -> Iterator[QuestionExample]:
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = tuple(Answer(**answer) for answer in qa["answers"])
                yield QuestionExample(qa["id"], qa["question"], paragraph["context"], answers)


def word_trigrams(text: str) -> set[tuple[str, str, str]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def overlap(left: str, right: str) -> float:
    """Share of the word trigrams of two texts that both have (Jaccard), 0 to 1."""
    ours, theirs = word_trigrams(left), word_trigrams(right)
    return len(ours & theirs) / max(1, len(ours | theirs))


def occurrences(text: str, words: str) -> list[int]:
    return [match.start() for match in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text)]


def both(sides: dict[str, list[Example]]) -> list[Example]:
    return [example for side in SIDES for example in sides[side]]


def test_there_are_as_many_sentences_as_promised(sentences: dict[str, list[EntityExample]]) -> None:
    assert len(both(sentences)) >= 300
    assert len(sentences["test"]) >= 50


def test_every_span_covers_whole_words_of_its_sentence(
    sentences: dict[str, list[EntityExample]],
) -> None:
    for example in both(sentences):
        for span in example.entities:
            name = example.text[span.start : span.end]
            assert name, example.id
            assert name == name.strip(PUNCTUATION), (example.id, name)
            assert span.start in occurrences(example.text, name), (example.id, name)
            assert span.end <= len(example.text)


def test_spans_are_sorted_and_do_not_overlap(sentences: dict[str, list[EntityExample]]) -> None:
    for example in both(sentences):
        for left, right in zip(example.entities, example.entities[1:], strict=False):
            assert left.end <= right.start, example.id


def test_every_label_occurs_on_both_sides_and_no_other_does(
    sentences: dict[str, list[EntityExample]],
) -> None:
    for side in SIDES:
        assert {span.label for example in sentences[side] for span in example.entities} == LABELS


def test_articles_stay_outside_every_span_and_titles_outside_persons(
    sentences: dict[str, list[EntityExample]],
) -> None:
    for example in both(sentences):
        for span in example.entities:
            first = example.text[span.start : span.end].split()[0].lower()
            assert first not in ARTICLES, example.id
            assert span.label != "person" or first not in TITLES, example.id


def test_every_mention_of_an_annotated_name_is_annotated(
    sentences: dict[str, list[EntityExample]],
) -> None:
    names = {e.text[s.start : s.end] for e in both(sentences) for s in e.entities}
    for example in both(sentences):
        covered = {at for span in example.entities for at in range(span.start, span.end)}
        for name in names:
            assert covered.issuperset(occurrences(example.text, name)), (example.id, name)


def test_sentences_are_six_to_twenty_two_words_with_at_most_four_entities(
    sentences: dict[str, list[EntityExample]],
) -> None:
    for example in both(sentences):
        assert 6 <= len(example.text.split()) <= 22, example.id
        assert len(example.entities) <= 4, example.id


def test_about_a_tenth_of_the_sentences_have_no_entity(
    sentences: dict[str, list[EntityExample]],
) -> None:
    empty = sum(not example.entities for example in both(sentences))
    assert 0.07 <= empty / len(both(sentences)) <= 0.15


def test_no_template_dominates_the_sentences(sentences: dict[str, list[EntityExample]]) -> None:
    openings = Counter(" ".join(example.text.lower().split()[:3]) for example in both(sentences))
    ((opening, count),) = openings.most_common(1)
    assert count <= 0.03 * len(both(sentences)), opening


def test_no_test_sentence_resembles_a_training_sentence(
    sentences: dict[str, list[EntityExample]],
) -> None:
    for held_out in sentences["test"]:
        for seen in sentences["train"]:
            assert overlap(held_out.text, seen.text) < 0.2, (held_out.text, seen.text)


def test_most_names_of_the_test_sentences_are_unseen_in_training(
    sentences: dict[str, list[EntityExample]],
) -> None:
    train, test = ({e.text[s.start : s.end] for e in sentences[side] for s in e.entities} for side in SIDES)
    assert len(test & train) <= 0.1 * len(test)


def test_there_are_as_many_questions_as_promised(questions: dict[str, list[QuestionExample]]) -> None:
    contexts = {side: {example.context for example in questions[side]} for side in SIDES}
    num_contexts = len(contexts["train"]) + len(contexts["test"])
    assert num_contexts >= 60
    assert len(both(questions)) >= 200
    assert 0.75 <= len(contexts["train"]) / num_contexts <= 0.85


def test_every_answer_stands_in_its_context_exactly_once(
    questions: dict[str, list[QuestionExample]],
) -> None:
    for example in both(questions):
        assert example.answers, example.id
        for answer in example.answers:
            assert occurrences(example.context, answer.text) == [answer.answer_start], example.id


def test_answers_are_short_and_bare(questions: dict[str, list[QuestionExample]]) -> None:
    for example in both(questions):
        for answer in example.answers:
            assert 1 <= len(answer.text.split()) <= 6, example.id
            assert answer.text == answer.text.strip(PUNCTUATION), example.id


def test_several_gold_answers_of_a_question_name_the_same_place(
    questions: dict[str, list[QuestionExample]],
) -> None:
    assert any(len(example.answers) > 1 for example in questions["test"])
    for example in both(questions):
        latest_start = max(answer.answer_start for answer in example.answers)
        earliest_end = min(answer.answer_start + len(answer.text) for answer in example.answers)
        assert latest_start < earliest_end, example.id


def test_contexts_are_sixty_to_a_hundred_and_thirty_words(
    questions: dict[str, list[QuestionExample]],
) -> None:
    for example in both(questions):
        assert 60 <= len(example.context.split()) <= 130, example.id


def test_titles_and_contexts_are_on_one_side_only(
    repository: Path, questions: dict[str, list[QuestionExample]]
) -> None:
    folder = repository / "recipes" / "data"
    train, test = (
        {a["title"] for a in json.loads((folder / f"quickstart_qa_{side}.json").read_text("utf-8"))["data"]}
        for side in SIDES
    )
    assert not train & test
    assert not {e.context for e in questions["train"]} & {e.context for e in questions["test"]}


def test_identifiers_are_unique_across_both_sides(
    sentences: dict[str, list[EntityExample]], questions: dict[str, list[QuestionExample]]
) -> None:
    for ids in ([e.id for e in both(sentences)], [e.id for e in both(questions)]):
        assert len(set(ids)) == len(ids)
