"""What the owner of a box is handed over: its facts, first requests, a page of both. Pure; nothing of it is secret."""
