"""What code declares of its jobs, and what admins put in its place."""
