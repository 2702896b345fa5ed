"""From clips to verdicts, and to the records of machines."""
