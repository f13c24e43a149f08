"""Boxwright turns bare GPU servers into finished private-LLM appliances, the same way every time."""

__version__ = "0.1.0"
