"""Studies that nothing else needs: comparing engines, cross-validation, the original protocol."""
