"""Model versions: on disk, as they are served, and what they answer."""
