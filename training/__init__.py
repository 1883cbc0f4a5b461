"""Offline: interactions and images in, a bundle out."""
