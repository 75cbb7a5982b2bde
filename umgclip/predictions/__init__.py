"""Predictions of many images as a folder: pictures, COCO json, JSON lines and a page."""
