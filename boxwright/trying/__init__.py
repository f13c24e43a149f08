"""Tries a model on a box by transformers, beside what serves there, and leaves nothing."""
