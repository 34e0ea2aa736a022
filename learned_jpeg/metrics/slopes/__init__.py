"""What the slopes of metrics have in common: strips, light and the squared error."""
