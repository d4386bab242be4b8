"""Scores of predictions, as pure functions: SQuAD, CMRC and entities."""
