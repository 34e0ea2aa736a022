"""Parts that the slopes of metrics share: strips, light and the squared error."""
