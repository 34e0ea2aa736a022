"""Parts that the slopes of metrics share, and windows of those of MS-SSIM."""
