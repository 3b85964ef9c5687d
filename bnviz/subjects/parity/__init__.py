"""Layers compared with those of torch: in every case, and by cause where they differ."""
