"""Scores of predictions, as pure functions: answers to questions, entities, tags and classes."""
