"""What we want: profiles, sites and fleets as frozen, validated values. Of ours it imports errors alone."""
