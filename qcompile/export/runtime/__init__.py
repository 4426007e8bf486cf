"""The C runtime of bundles: sources that every library gets a copy of."""
