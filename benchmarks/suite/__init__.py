"""One file for each benchmark.

Its docstring says what is measured, `measure(world, **settings)` yields rows of figures, `BOUNDS` names the figures
that were promised, and `CORES` how many processor cores it gets.
"""
