"""Read the pairs that a run saved, and score them in classes of your own.

    python examples/own_strata.py [DIR]

pairs.parquet holds one row an observation: where, when, what was observed, and each product.
"""

import sys

import pandas as pd

import deepcams_eval as dc
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

data = sys.argv[1] if len(sys.argv) > 1 else "demo"

dc.insitu(2019, data=data, added_value=False, sensitivity=False).save("own_strata")

pairs = pd.read_parquet("own_strata/pairs.parquet")
classes = ["clean", "fair", "poor", "episode"]
limits = [float("-inf"), 5.0, 15.0, 50.0, float("inf")]
pairs["class"] = pd.cut(pairs["observed"], limits, labels=classes)

for product in pairs.attrs["products"]:
    both = pairs.dropna(subset=[product])
    sums = Moments.of(both["observed"], both[product], both["class"].cat.codes, size=len(classes))
    columns = {
        "n": sums.n,
        "r": metrics.r(sums),
        "mb": metrics.mb(sums),
        "rmse": metrics.rmse(sums),
    }
    print(product, "by class of the observation, ug m-3")
    print(pd.DataFrame(columns, index=classes).round(2).to_string())
