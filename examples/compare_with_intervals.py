"""Say which product is better than the baseline, and where chance alone could explain it.

    python examples/compare_with_intervals.py [DIR]

Differences are taken pair by pair; their 95 % intervals leave out whole stations in turn.
"""

import sys

import deepcams_eval as dc

data = sys.argv[1] if len(sys.argv) > 1 else "demo"

result = dc.insitu([2019, 2020], data=data, baseline="cams", sensitivity=False)

for row in result.differences.query("stratum in ('all', 'year')").itertuples():
    if row.d_rmse_hi < 0:
        verdict = "smaller error"
    elif row.d_rmse_lo > 0:
        verdict = "larger error"
    else:
        verdict = "cannot be told apart"
    print(
        f"{row.product} - {row.baseline}, {row.stratum} {row.value}: RMSE {row.d_rmse:+.2f} "
        f"[{row.d_rmse_lo:+.2f}, {row.d_rmse_hi:+.2f}] ug m-3, {verdict}"
    )
