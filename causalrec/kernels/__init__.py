"""Fused fast paths over the whole catalogue, equal to causalrec.equations by test."""
