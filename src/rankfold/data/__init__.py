"""Data sets: file formats read into examples, and examples divided into training and test."""
