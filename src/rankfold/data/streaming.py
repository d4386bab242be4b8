"""Training sets that are never whole in memory: read, cleaned and laid by an example at a time.

Laid by on disk, since a weight may want the examples several times, and what cleaning drops is known before
anything is tokenised. Only what is tested on is held in memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rankfold.data.cleaning import drop_empty
from rankfold.data.examples import Example
from rankfold.data.labelling import check_labels
from rankfold.data.mixing import MAIN
from rankfold.data.readers import ExampleOf, iterate_examples
from rankfold.data.result import Notes
from rankfold.data.sides import Splits, nothing_left, weighted
from rankfold.data.splits import SideReader, both_sources, first, training_cleaner, validates
from rankfold.data.store import iterate_stored, write_examples
from rankfold.recipe.schema import Recipe, Source
from rankfold.task_facts import task_facts


@dataclass(frozen=True)
class Stored:
    """Examples on disk, read again each time they are iterated over."""

    path: Path
    kind: type[Example]

    def __iter__(self) -> Iterator[Example]:
        return iterate_stored(self.path, self.kind)


def stream_splits(recipe: Recipe, example_of: ExampleOf, kind: type[Example], folder: Path) -> Splits:
    """Read the sides of a recipe as `read_splits` does, but training examples by way of files in `folder`.

    Unlike there the training set is not divided, and the first `max_train_examples` are those of the file.
    Nothing looks for an id that comes twice, which would hold all ids in memory.

    Raises:
        DataError: A source is missing, broken or empty.
    """
    data, reader = recipe.data, SideReader(recipe.data, example_of)
    train, test = both_sources(data)
    sources = {MAIN: train, **data.mixed_with}
    labels = data.labels or _find_labels(recipe, sources.values(), example_of)
    tested = reader.held_out("test", test, labels)
    validated: tuple[Example, ...] = ()
    if data.validation is not None and validates(recipe):
        validated = reader.held_out("validation", data.validation, labels)
    cleaner = training_cleaner(recipe, validated, tested)
    notes = {name: Notes(reader.tallies.drops(name), reader.tallies.repairs(name)) for name in sources}
    sets = {name: Stored(folder / f"{name}.jsonl", kind) for name in sources}
    for name, source in sources.items():
        located = iterate_examples(source, data.labels, notes[name], example_of=example_of)
        located = drop_empty(located, data.cleaning, notes[name].dropped)
        located = cleaner.clean(located, notes[name].dropped)
        kept = (example for _, example in islice(located, data.max_train_examples))
        if not write_examples(sets[name].path, kept, kind):
            raise nothing_left(source.path, notes[name].dropped)
    found = [name for noted in notes.values() for name in noted.names]
    check_labels(data.labels, found, "data.labels", "training example")
    seed = data.split.seed
    return reader.tallies.splits(
        weighted(data, sets),
        first(validated, data.max_validation_examples, seed),
        first(tested, data.max_test_examples, seed),
        labels,
    )


def _find_labels(recipe: Recipe, sources: Iterable[Source], example_of: ExampleOf) -> tuple[str, ...]:
    """Read everything once for the labels in it, which must be known before anything is tokenised."""
    if not task_facts(recipe.task).has_labels:
        return ()
    notes = Notes()
    for source in sources:
        for _ in iterate_examples(source, (), notes, example_of=example_of):
            pass
    return tuple(notes.labels)
