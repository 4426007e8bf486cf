"""Find the fastest schedules of a network on a device."""

TRIALS = 300  # by default: of a ResNet-18 on one core, some minutes
