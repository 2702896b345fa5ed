"""Events of machines, their sound, and where both are kept."""
