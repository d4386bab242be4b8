"""The examples of the sample runs, with what each model makes of them."""

from typing import Any

LABELS = ("person", "location", "organisation")

Pair = tuple[str, str]
"""An entity as (text, label); it is looked up in the example's text."""

ENTITY_TEXTS: tuple[tuple[str, tuple[Pair, ...]], ...] = (
    (
        "Ada Lovelace met Charles Babbage in London.",
        (("Ada Lovelace", "person"), ("Charles Babbage", "person"), ("London", "location")),
    ),
    (
        "The University of Edinburgh opened a lab in Leith.",
        (("University of Edinburgh", "organisation"), ("Edinburgh", "location"), ("Leith", "location")),
    ),
    ("菲律宾总统通过马尼拉当地电台宣布了这个消息。", (("菲律宾", "location"), ("马尼拉", "location"))),
    ("Off to Lisbon 🇵🇹 with Inês 👩‍🚀 tomorrow!", (("Lisbon", "location"), ("Inês", "person"))),
    ("سافر خالد إلى القاهرة أمس.", (("خالد", "person"), ("القاهرة", "location"))),
    ("Nothing to see here, just rain again.", ()),
    (
        "Red Cross teams reached Port-au-Prince on Friday.",
        (("Red Cross", "organisation"), ("Port-au-Prince", "location")),
    ),
    ("Jordan plays for Jordan.", (("Jordan", "person"),)),
    ("She left Siemens for a start-up in Łódź.", (("Siemens", "organisation"), ("Łódź", "location"))),
    ('Ask Bob "the builder" O\'Neill & sons <b>today</b>.', (("Bob", "person"),)),
    ("İstanbul'da Orhan Pamuk konuştu.", (("İstanbul", "location"), ("Orhan Pamuk", "person"))),
    ("The committee could not agree on a date.", ()),
    (
        "Marie Curie worked in Paris, at the Sorbonne.",
        (("Marie Curie", "person"), ("Paris", "location"), ("Sorbonne", "organisation")),
    ),
    ("Tokyo and Osaka\nsigned the paper.", (("Tokyo", "location"), ("Osaka", "location"))),
)

BASE_PREDICTED: dict[int, tuple[Pair, ...]] = {
    0: (("London", "location"),),
    6: (("Red Cross", "person"),),
    12: (("Paris", "location"), ("Albert Einstein", "person")),
}
FINE_TUNED_PREDICTED: dict[int, tuple[Pair, ...]] = {
    **{number: entities for number, (_, entities) in enumerate(ENTITY_TEXTS)},
    1: (("University", "organisation"), ("of Edinburgh opened", "location"), ("Leith", "location")),
    2: (("菲律宾总统", "person"), ("马尼拉", "location")),
    5: (("rain", "location"),),
    6: (("Red Cross", "person"), ("Port-au-Prince", "location"), ("Haiti", "location")),
    8: (),
    9: (("Bob", "person"), ("<b>today</b>", "organisation")),
}
BASE_PARSE_FAILURES = frozenset({1, 3, 4, 7, 8})
FINE_TUNED_PARSE_FAILURES = frozenset({8})

QUESTIONS: tuple[dict[str, Any], ...] = (
    {
        "question": "Where was the first lighthouse of this kind built?",
        "context": "The coast was dark for centuries. "
        * 9
        + "The first lighthouse of this kind was built on the island of Hven, and a second one followed near "
        "Falsterbo twelve years later. " + "Ships passed at night without harm. " * 9,
        "golds": ("the island of Hven", "Hven"),
        "predictions": ("Falsterbo", "island of Hven, and"),
        "f1": (0.0, 6 / 7),
    },
    {
        "question": "Who kept the fire?",
        "context": "Every evening the keeper Karin Månsdotter lit the fire and wrote the hour in a book.",
        "golds": ("Karin Månsdotter",),
        "predictions": ("the fire", "Karin Månsdotter"),
        "f1": (0.0, 1.0),
    },
    {
        "question": "灯塔有多高？",
        "context": "这座灯塔高二十三米，建于一五六一年，用当地的石头砌成。",
        "golds": ("二十三米",),
        "predictions": ("一五六一年", "高二十三米"),
        "f1": (0.0, 0.0),
    },
    {
        "question": "What did the king pay for it?",
        "context": "Nobody knows what it cost. The letters mention <script>alert(1)</script> only stone.",
        "golds": (),
        "predictions": ("only stone", ""),
        "f1": (0.0, 1.0),
    },
    {
        "question": "When was the fire put out?",
        "context": "The fire burned until 1887, when gas replaced it.",
        "golds": ("1887",),
        "predictions": ("1887", ""),
        "f1": (1.0, 0.0),
    },
)
