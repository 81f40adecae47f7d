"""The simulation road: a year of hourly truth degraded, brought back by every method, scored."""
