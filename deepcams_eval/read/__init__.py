"""Readers: one file a source, each returning the shapes of `deepcams_eval.core.field`."""
