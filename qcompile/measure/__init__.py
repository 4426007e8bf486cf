"""Measure what kernels cost on this processor, and keep the table."""
