"""What a profile is made of, locked: bundles that are carried into rooms without internet."""
