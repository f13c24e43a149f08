"""How a host is changed: Ansible for the machine, pyinfra for the workload, both as subprocesses of one Event stream."""
