"""Secrets are taken out of text, and nothing else is."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.redact import REDACTED, redact

SECRETS = [
    ('HF_TOKEN="{}"', "abcdefgh12345678"),
    ("export WANDB_API_KEY={}", "0123456789abcdef0123"),
    ("+  password: '{}'", "correct-horse-9-battery"),
    ('{{"client_secret": "{}"}}', "abcDEF123456ghi"),
    ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE"),
    ("OPENAI_KEY={}", "abcdefgh12345678"),
    ("login({})", "hf_" + "abcdefghijklmnopqrstuvwx"),
    ("git clone x {}", "ghp_" + "abcdefghijklmnopqrstuvwx0123"),
    ("id {}", "AKIA" + "ABCDEFGHIJKLMNOP"),
    ("client('{}')", "sk-" + "proj-abcdefghijklmnopqrstuvwx"),
    ("jwt {}", "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJl"),
    ("url = https://{}@host/x.git", "bob:hunter2"),
    ("https://{}@github.com/x", "tokenAsName"),
    ("redis://{}@host:6379", ":hunter2"),
]
HARMLESS = [
    "tokenizer = AutoTokenizer.from_pretrained2(folder)",
    "num_tokens = batch.input_ids2_and_more",
    "pad_token = self.config2.pad_token2",
    "token = os.environ['HF_TOKEN_2_OF_MINE']",
    "rows.sort(key=lambda row: row.number1_and_2)",
    "token: str = read_token2_from_keyring()",
    "ssh://git@github.com/me/x.git",
    "https://host/a@b",
    "the key: 12345678901234567890",
    "monkey = banana",
]


@pytest.mark.parametrize(("line", "secret"), SECRETS)
def test_a_secret_is_taken_out_and_its_line_is_counted(line: str, secret: str) -> None:
    text, count = redact("before\n" + line.format(secret) + "\nafter\n")
    assert secret not in text
    assert text == "before\n" + line.format(REDACTED) + "\nafter\n"
    assert count == 1


@pytest.mark.parametrize("line", HARMLESS)
def test_code_that_speaks_of_tokens_and_keys_stays(line: str) -> None:
    assert redact(line) == (line, 0)


def test_the_block_of_a_private_key_keeps_its_ends_and_the_marks_of_a_patch() -> None:
    begin, end = (f"+-----{word} RSA PRIVATE KEY-----\n" for word in ("BEGIN", "END"))
    text, count = redact(f" a\n{begin}+abc\n+def\n{end} b\n")
    assert text == f" a\n{begin}+{REDACTED}\n+{REDACTED}\n{end} b\n"
    assert count == 2


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)[0]
    assert redact(once) == (once, 0)


def test_the_code_of_this_repository_holds_nothing_that_looks_like_a_secret(repository: Path) -> None:
    folders = [str(repository / name) for name in ("launch", "src", "recipes", "slurm")]
    names = subprocess.run(
        ["find", *folders, "-type", "f", "-name", "*.[py]*"], capture_output=True, text=True
    )
    files = [Path(name) for name in names.stdout.split("\n") if name.endswith((".py", ".yaml"))]
    assert len(files) > 100
    assert [file for file in files if redact(file.read_text(encoding="utf-8"))[1]] == []
