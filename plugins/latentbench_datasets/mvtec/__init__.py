"""MVTec AD and what is laid out like it: images of parts, with defects and their masks."""
