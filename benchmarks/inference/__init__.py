"""One recording in, one answer out: this service beside the way of the project that it succeeds."""
