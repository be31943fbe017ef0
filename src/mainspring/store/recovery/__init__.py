"""Ways back after failures: retries, circuit breakers of jobs, and replays."""
