"""One question a module: its tables, and its section of the page."""
