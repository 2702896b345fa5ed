"""Jobs, their queue and their workers."""
