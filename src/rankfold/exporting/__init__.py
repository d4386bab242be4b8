"""What an exported model has beside its weights: a card, a Modelfile, a GGUF file."""
