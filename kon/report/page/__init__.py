"""The report: one page of HTML that holds all it needs."""
