"""How a host is changed: Ansible for the machine, pyinfra for the workload, as processes that speak events."""
