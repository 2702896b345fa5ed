"""Sources and sinks: their types, their files, and the checks of their values."""
