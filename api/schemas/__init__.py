"""The JSON of requests and answers: names, units, ranges and examples."""
