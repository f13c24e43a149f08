"""What an engine is started with: pure functions from a profile and a model to settings."""
