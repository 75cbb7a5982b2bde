"""Stage `segment`: a decoder for segmentation on the frozen tuned tower."""
