"""From observations and fields to pairs: selection, quality control, matching, averages."""
