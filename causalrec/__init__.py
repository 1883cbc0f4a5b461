"""What trainer and service must agree on: the debiased score, its search, the bundle."""

__version__ = "0.1.0"
