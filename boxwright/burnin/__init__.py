"""Loads boxes part by part for a while, and counts what breaks."""
