"""What Redis and Valkey do for us: locks."""
