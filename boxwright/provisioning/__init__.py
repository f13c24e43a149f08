"""Takes the hosts of a fleet through their stages: each host on its own, none waiting for another."""
