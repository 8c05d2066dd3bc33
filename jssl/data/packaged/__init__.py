"""Real data that ships inside installed packages, one modality a file."""
