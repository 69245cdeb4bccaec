"""What kon is measured against."""
