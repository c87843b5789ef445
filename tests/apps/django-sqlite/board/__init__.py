"""A notice board: one table, one page."""
