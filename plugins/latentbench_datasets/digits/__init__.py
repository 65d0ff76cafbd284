"""Datasets of digits and clothing: single images, pairs under correlation shift, and each as the other's anomalies."""
