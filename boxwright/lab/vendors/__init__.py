"""Simulated vendors: what twins install where a real machine gets a vendor's own packages. All of it says SIMULATED."""
