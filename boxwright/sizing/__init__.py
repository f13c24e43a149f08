"""Will it fit: which models a machine holds, for how many requests at once, and about how fast. Pure."""
