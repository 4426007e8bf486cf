"""From planned segments to what a user sees: their folders, the simulated network, its cycles."""
