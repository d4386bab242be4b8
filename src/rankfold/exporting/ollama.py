"""A Modelfile for Ollama, its template derived from the tokenizer's own.

Ollama fills Go templates, tokenizers Jinja ones. Where a conversation is only its turns, each between fixed
words, those words are found by rendering marked messages, and then proven by rendering other conversations.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from rankfold.recipe.schema import Evaluation

SYSTEM, USER, ASSISTANT = "⟦system⟧", "⟦user⟧", "⟦assistant⟧"

NO_TEMPLATE = "the chat template has no form that Ollama has: its Modelfile has no TEMPLATE, so write one"


@dataclass(frozen=True)
class Turns:
    """What stands before and after what each role says; `default_system` is said where nobody says it."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    default_system: str | None

    def render(self, messages: Sequence[tuple[str, str]]) -> str:
        """A conversation up to where the assistant is to speak."""
        roles = {"system": self.system, "user": self.user, "assistant": self.assistant}
        said = "".join(f"{roles[role][0]}{content}{roles[role][1]}" for role, content in messages)
        if self.default_system is not None and messages[0][0] != "system":
            said = self.system[0] + self.default_system + self.system[1] + said
        return said + self.assistant[0]


def modelfile(
    tokenizer: PreTrainedTokenizerBase, evaluation: Evaluation, stops: Sequence[int], weights: str
) -> tuple[str, list[str]]:
    """Return the Modelfile, and what has to be said of it.

    Args:
        evaluation: How the run generated.
        stops: Ids of the tokens that end an answer.
        weights: Where the weights are, from the Modelfile.
    """
    turns = find_turns(tokenizer)
    lines = [f"FROM {weights}"]
    if turns is not None:
        lines.append(f'TEMPLATE """{_go_template(turns)}"""')
        if turns.default_system is not None:
            lines.append(f'SYSTEM """{turns.default_system}"""')
    tokens = tokenizer.convert_ids_to_tokens(list(stops))
    lines += [f"PARAMETER stop {json.dumps(token, ensure_ascii=False)}" for token in tokens]
    lines.append(f"PARAMETER num_predict {evaluation.max_new_tokens}")
    lines.append(f"PARAMETER temperature {evaluation.temperature if evaluation.do_sample else 0}")
    if evaluation.do_sample:
        lines.append(f"PARAMETER top_p {evaluation.top_p}")
    return "\n".join(lines) + "\n", [] if turns is not None else [NO_TEMPLATE]


def find_turns(tokenizer: PreTrainedTokenizerBase) -> Turns | None:
    """Find the words around each turn; None where there is no template, or it does more than that."""
    if tokenizer.chat_template is None:
        return None
    try:
        return _proven(_found(tokenizer), tokenizer)
    except (TemplateError, ValueError):
        # It refuses a conversation, or does not write what was said as it was said.
        return None


def _found(tokenizer: PreTrainedTokenizerBase) -> Turns:
    """The words around each turn, if the template is of that kind."""
    system, user, assistant = ("system", SYSTEM), ("user", USER), ("assistant", ASSISTANT)
    before_system, after_system = _split(_render(tokenizer, [system]), SYSTEM)
    with_user = _render(tokenizer, [system, user])
    _, between = _split(_split(with_user, USER)[0], SYSTEM)
    before_user = between.removeprefix(after_system)
    after_user = _split(with_user, USER)[1]
    asked = _render(tokenizer, [system, user], add_generation_prompt=True)
    before_assistant = asked.removeprefix(with_user)
    after_assistant = _split(_render(tokenizer, [system, user, assistant]), ASSISTANT)[1]
    alone = _render(tokenizer, [user])
    default = _split(alone, USER)[0].removesuffix(before_user).removeprefix(before_system)
    return Turns(
        (before_system, after_system),
        (before_user, after_user),
        (before_assistant, after_assistant),
        default.removesuffix(after_system) if default.endswith(after_system) and default else None,
    )


def _proven(turns: Turns, tokenizer: PreTrainedTokenizerBase) -> Turns | None:
    """The turns, if they render as the template does, and hold nothing that a Modelfile would misread."""
    conversations = (
        [("user", "Who?")],
        [("system", "Be brief."), ("user", "Who?")],
        [("user", "Who?"), ("assistant", "Anna."), ("user", "Where?")],
        [("system", "Be brief."), ("user", "Who?"), ("assistant", "Anna."), ("user", "Where?")],
    )
    for conversation in conversations:
        if turns.render(conversation) != _render(tokenizer, conversation, add_generation_prompt=True):
            return None
    texts = [*turns.system, *turns.user, *turns.assistant, turns.default_system or ""]
    return None if any(mark in text for text in texts for mark in ('"""', "{{")) else turns


def _go_template(turns: Turns) -> str:
    """Ollama's template of one exchange, which it repeats for every earlier one."""
    return (
        "{{ if .System }}" + turns.system[0] + "{{ .System }}" + turns.system[1] + "{{ end }}"
        "{{ if .Prompt }}" + turns.user[0] + "{{ .Prompt }}" + turns.user[1] + "{{ end }}"
        + turns.assistant[0] + "{{ .Response }}" + turns.assistant[1]
    )  # fmt: skip


def _render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[tuple[str, str]],
    *,
    add_generation_prompt: bool = False,
) -> str:
    """The conversation without the token that Ollama puts in front of it."""
    text: str = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
    )
    return text.removeprefix(_beginning(tokenizer))


def _beginning(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokenizer, and so Ollama, begins every text with by itself; many do not, though they could."""
    first = tokenizer("x")["input_ids"][0]
    return str(tokenizer.bos_token) if first == tokenizer.bos_token_id else ""


def _split(text: str, mark: str) -> tuple[str, str]:
    """What is before and after the mark; ValueError where it is not there once."""
    before, after = text.split(mark)
    return before, after
