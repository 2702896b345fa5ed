"""Sources while they run: readers in threads, their sound as clips, and when their machines run."""
