"""Getting the data at their source into the standard layout of a data folder."""
