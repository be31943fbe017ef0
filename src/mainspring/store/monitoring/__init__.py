"""How every job and what it runs on is doing, as the monitors find it."""
