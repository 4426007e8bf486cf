"""Operators: what is computed (TE) and how on a family of devices, one operator per file."""
