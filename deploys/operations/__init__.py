"""What the deploys do to a box, where pyinfra has no operation for it."""
