"""Pages and comparisons of what `evaluation` has measured."""
