"""Ansible as an engine: one `ansible-playbook` process per host, whose callback speaks events."""
