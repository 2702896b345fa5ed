"""Fans that never existed, with three faults, in the MIMII layout: shafts, blades, bearings, flow and rooms."""
