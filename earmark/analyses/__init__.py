"""Analyses of trained models, as in the papers: filters, attention and the ablation of inputs.

Each analysis has a pure part (arrays in, arrays out), a figure (arrays in, Figure out) and a
command that writes figures and the numbers behind them to data/analyses/<name>/.
"""
