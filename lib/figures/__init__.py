"""Altair charts from small tables."""
