"""Shapes of data, units, grids, time and folders: what every other room stands on."""
