"""What several nodes agree on: who lives, who holds a lock, how far a synchronisation has come."""
