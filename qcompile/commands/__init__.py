"""What each command does, without printing: functions that return frozen dataclasses."""
