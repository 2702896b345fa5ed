"""JSON schemas of requests and answers: names, units, ranges and examples."""
