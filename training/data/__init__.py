"""From a data directory to a Dataset and its split: reading, checking, k-core, features."""
