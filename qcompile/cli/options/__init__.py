"""What each command takes; one file for commands that belong together."""
