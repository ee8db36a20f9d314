"""Which scientific-ML forecaster is cheapest over its whole life: train, export, measure, amortise."""

__version__ = "0.1.0"

__all__ = ["__version__"]
