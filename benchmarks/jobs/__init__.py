"""The job queue: what it costs, what it carries, and what it survives; one file for each measurement."""
