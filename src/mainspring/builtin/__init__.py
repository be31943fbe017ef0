"""The jobs that every application has."""
