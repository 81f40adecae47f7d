"""From pairs to scores: mergeable sums, metrics, strata, intervals, tables."""
