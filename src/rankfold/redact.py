"""Text that may hold a password or a token, without it: nothing secret belongs in a run's folder."""

import re

REDACTED = "[redacted]"

_NAMED = re.compile(
    # NAME_TOKEN = "value", export API_KEY=value, {"password": "value"}. Names are matched by their ends and
    # lengths are bounded, so that a long line costs no more than its length.
    r"(?P<kept>(?:(?i:api_?key|private_?key|access_?key|secret|token|passw(?:or)?d|credentials?)|KEY)\d{0,3}"
    r"[\"']?[ \t]{0,8}(?::=|=|:)[ \t]{0,8})"
    r"(?P<quote>[\"']?)(?P<value>[^\s\"',;(){}\[\]$<>]{12,}+)(?P=quote)(?![(\[])"
)
_CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
"""`config.hub_token2`: where such a value is not quoted it is a name, not a secret."""
_WELL_KNOWN = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"  # GitHub
    r"|\bglpat-[\w-]{16,}"  # GitLab
    r"|\bA(?:KIA|SIA)[A-Z0-9]{16}\b"  # AWS
    r"|\bsk-[\w-]{20,}"  # OpenAI and others
    r"|\bxox[abprs]-[\w-]{10,}"  # Slack
    r"|(?<![\w-])ey[\w-]{10,}\.ey[\w-]{10,}\.[\w-]{10,}"  # JSON web tokens
)
_MARKS = ("hf_", "gh", "glpat-", "AKIA", "ASIA", "sk-", "xox", "ey")
_NAME_MARKS = ("key", "secret", "token", "passw", "credential")
_IN_URL = re.compile(
    # With http a name alone can be a token; elsewhere, as in ssh://git@host, it is none.
    r"(?P<scheme>\b(?:https?://(?=[^\s/@\"'<>]{1,300}@)|[a-z][a-z0-9+.-]{0,20}://(?=[^\s/@:\"'<>]{0,100}:)))"
    r"[^\s/@\"'<>]{1,300}@"
)
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_LOOKS_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])")


def redact(text: str) -> tuple[str, int]:
    """Take out what looks like a secret, and count the lines it was in.

    A value is taken for a secret where its name says so and it has letters and digits, where it has the
    form of a well-known service's tokens, where it stands between `://` and `@`, and in a block of a
    private key. Line ends and everything else stay as they are.
    """
    lines: list[str] = []
    changed = 0
    in_key = False
    for line in text.splitlines(keepends=True):
        if in_key:
            shown = line[:1] + REDACTED + "\n" if not _KEY_ENDS.search(line) else line
        else:
            shown = redact_line(line)
        in_key = (in_key or _KEY_BEGINS.search(line) is not None) and not _KEY_ENDS.search(line)
        changed += shown != line
        lines.append(shown)
    return "".join(lines), changed


def redact_line(line: str) -> str:
    """Take what looks like a secret out of one line."""
    # Plain searches first: a patch has many lines, and hardly any of them holds a secret.
    if "://" in line and "@" in line:
        line = _IN_URL.sub(rf"\g<scheme>{REDACTED}@", line)
    if any(mark in line for mark in _MARKS):
        line = _WELL_KNOWN.sub(REDACTED, line)
    if any(mark in line.lower() for mark in _NAME_MARKS):
        line = _NAMED.sub(_without_value, line)
    return line


def _without_value(found: re.Match[str]) -> str:
    is_code = not found["quote"] and _CODE.fullmatch(found["value"])
    if is_code or not _LOOKS_RANDOM.match(found["value"]):
        return found[0]
    return f"{found['kept']}{found['quote']}{REDACTED}{found['quote']}"
