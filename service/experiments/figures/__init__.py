"""Figures of a report, computed as places on a drawing; templates draw them."""
