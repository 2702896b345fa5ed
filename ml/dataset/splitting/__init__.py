"""Split of a dataset into training, validation and test sides."""
