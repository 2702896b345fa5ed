"""Operating system services: files, processes, progress, logs and messages for invalid values."""
