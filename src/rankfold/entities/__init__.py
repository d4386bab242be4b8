"""Generative entity recognition without the model: prompts, and generated text turned into spans."""
