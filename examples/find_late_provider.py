"""Find a provider whose clock is wrong, put it right, and see what that does to the scores.

    python examples/find_late_provider.py [DIR]

The clock of one provider of the synthetic archive is an hour late.
"""

import sys

import deepcams_eval as dc

data = sys.argv[1] if len(sys.argv) > 1 else "demo"
years = [2019, 2020]


def correlation(result: dc.InsituRun) -> float:
    """Return R of an hourly product over all pairs that it has."""
    rows = result.scores.query("product == 'geoscf' and stratum == 'all' and sample == 'own'")
    return float(rows["r"].item())


before = dc.insitu(years, data=data, sensitivity=False)
best = before.lags.query("product == 'geoscf' and lag_h == best_lag_h")
print(best[["provider", "lag_h", "r", "d_r", "significant"]].round(3).to_string(index=False))

late = best[best["significant"]]
shifts = dict(zip(late["provider"], late["lag_h"].astype(float), strict=True))
if not shifts:
    print("no provider is late beyond doubt")
else:
    after = dc.insitu(years, data=data, shifts=shifts, sensitivity=False)
    print(f"shifted by {shifts}: R {correlation(before):.4f} -> {correlation(after):.4f}")
