"""The generated sample, and planted defects."""
