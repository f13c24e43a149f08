"""Ansible as an engine: one `ansible-playbook` process per host, speaking events through a callback of its own."""
