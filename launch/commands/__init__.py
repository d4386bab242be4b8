"""The commands: one file each, with what can be typed after it and what it then does."""
