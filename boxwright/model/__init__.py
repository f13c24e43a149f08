"""What we want: profiles, sites and fleets as frozen, validated values. Imports nothing else of Boxwright but errors."""
