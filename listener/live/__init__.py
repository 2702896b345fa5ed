"""What the API and the terminal ask a running listener."""
