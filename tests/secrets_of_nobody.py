"""Values that look like secrets, open no door, and are easy to find where they should not be."""

SECRETS = {
    "HF_TOKEN": "hf_" + "SecretOfNobodyForTheHub1",
    "WANDB_API_KEY": "0123456789abcdef" + "SecretOfNobodyForTracking",
    "AWS_SECRET_ACCESS_KEY": "SecretOfNobody/For+Storage" + "0123456789",
    "MADE_UP_TOKEN": "SecretOfNobodyForSomethingElse" + "42",
}
"""By the names of the variables that hold them."""


def holding(content: bytes) -> list[str]:
    """Names of the secrets that some bytes hold."""
    return [name for name, value in SECRETS.items() if value.encode() in content]
