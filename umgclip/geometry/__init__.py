"""Boxes and masks in pixels: conversions, overlaps, suppression."""
