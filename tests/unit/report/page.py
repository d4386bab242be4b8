"""A page of HTML as a browser would find it."""

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "line", "circle", "polyline"}


@dataclass
class Page(HTMLParser):
    """What a browser would find: tags, marks with their kind, texts by class, ids and links."""

    html: str
    tags: Counter[str] = field(default_factory=Counter)
    marks: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    words: str = ""
    ids: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    table_headers_without_scope: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.feed(self.html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags[tag] += 1
        self.attributes += attrs
        self.ids += [given["id"] or ""] if "id" in given else []
        self.table_headers_without_scope += tag == "th" and "scope" not in given
        if tag == "mark":
            self.marks.append((given["class"] or "", ""))
        if given.get("class") == "text":
            self.texts.append("")
        if tag not in VOID:
            self.open.append((tag, given.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        # Neighbouring cells are apart on the page though no space is between them in the text.
        self.words += " " * (tag in ("td", "th", "dt", "dd"))
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        classes = [name for _, name in self.open]
        if "style" not in [tag for tag, _ in self.open]:
            self.words += data
        if "mark" in [tag for tag, _ in self.open]:
            self.marks[-1] = (self.marks[-1][0], self.marks[-1][1] + data)
        if "text" in classes and not any(name.startswith("tag ") for name in classes):
            self.texts[-1] += data

    @property
    def plain_words(self) -> str:
        """The words with one space between any two."""
        return " ".join(self.words.split())
