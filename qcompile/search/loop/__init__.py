"""Latency in the loop: measured networks decide the widths, until prediction and device agree.

request.py    what a user asks for           material.py   the network, its data, its choices
workshop.py   assignment -> model, accuracy  station.py    assignment -> latency on a device
sweep.py      budgets -> assignments         rounds.py     measure, correct, solve again
points.py     what is known of assignments   front.py      which of them are worth having
results.py    pareto.json, best/             report.py     report.md with plots.py
"""
