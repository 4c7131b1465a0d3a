"""How fast, how small and how steady Blemish is: `python -m benchmarks list`."""
