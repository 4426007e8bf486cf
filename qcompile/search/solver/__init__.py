"""Exact solutions of budgeted choices."""
