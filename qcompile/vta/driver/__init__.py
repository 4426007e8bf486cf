"""The C sources of the driver for Linux; NETWORK stands for the bundle's name."""
