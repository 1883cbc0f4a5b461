"""Experiments on λ2: who gets which, what is recorded, what it says. Pure functions over plain data."""
