"""The VTA accelerator: its configuration, instructions, simulators and programs."""
