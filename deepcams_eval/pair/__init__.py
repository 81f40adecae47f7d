"""From observations and fields to pairs: quality control, matching, averages."""
