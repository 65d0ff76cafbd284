"""Datasets of digits, clothing and letters: labelled images, pairs under correlation shift, and foreign images."""
