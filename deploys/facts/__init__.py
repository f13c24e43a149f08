"""What the deploys ask a box."""
