"""One command per thing a person wants to do."""
