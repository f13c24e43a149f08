"""How the controller speaks to a host: OpenSSH with pinned host keys and bounded waiting."""
