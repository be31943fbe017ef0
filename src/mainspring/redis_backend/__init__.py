"""What Redis and Valkey do for us: locks, and answers that are kept."""
