"""The method `threshold`: MS-SSIM or SSIM of preprocessed thumbnails."""
