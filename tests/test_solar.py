"""Where the sun stands, against an almanac."""

from __future__ import annotations

import numpy as np
import pytest

from deepcams_eval.core.solar import cosine_of_zenith

# Altitudes of the sun's centre: at sunrise and sunset as they are printed, 50' below the horizon.
ALMANAC = [
    ("2020-03-20T12:07", 0.0, 0.0, 89.9),
    ("2020-06-21T12:02", 51.48, 0.0, 61.95),
    ("2020-12-21T08:04", 51.48, 0.0, -0.83),
    ("2020-12-21T15:53", 51.48, 0.0, -0.83),
    ("2020-12-21T01:53", -33.87, 151.21, 79.6),
    ("2020-06-21T22:00", 90.0, 77.0, 23.4),
    ("2020-06-21T22:00", -90.0, 77.0, -23.4),
]


@pytest.mark.parametrize(("time", "latitude", "longitude", "altitude"), ALMANAC)
def test_the_sun_stands_where_the_almanac_has_it(time, latitude, longitude, altitude):
    made = cosine_of_zenith(np.array([time], "datetime64[m]"), np.array([latitude]), [longitude])
    assert made.shape == (1, 1, 1)
    assert made[0, 0, 0] == pytest.approx(np.sin(np.radians(altitude)), abs=0.01)


def test_longitude_is_time():
    times = np.datetime64("2019-10-05T03:00") + np.array([0, 90], "timedelta64[m]")
    latitude, longitude = np.linspace(-80, 80, 9), np.linspace(-180, 179, 13)
    made = cosine_of_zenith(times, latitude, longitude)
    later = cosine_of_zenith(times[:1] + (times[1] - times[0]), latitude, longitude)
    east = cosine_of_zenith(times[:1], latitude, longitude + 22.5)
    np.testing.assert_array_equal(made[1], later[0])
    np.testing.assert_allclose(made[1], east[0], atol=1e-3)
    assert np.abs(made[1] - made[0]).max() > 0.3
