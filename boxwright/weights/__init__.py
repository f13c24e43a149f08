"""Weights of models: what hubs have of them, what lies on boxes, and what of that nobody needs."""
