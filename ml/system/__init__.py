"""The operating system below the library: files, processes, progress, logs."""
