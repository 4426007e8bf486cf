"""Find the fastest schedules of a network on a device."""
