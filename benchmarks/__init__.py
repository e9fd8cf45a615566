"""Runners of studies and timings, their results, published figures; not part of the installed package."""
