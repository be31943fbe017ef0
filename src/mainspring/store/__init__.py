"""All SQL, in SQLAlchemy Core: a room for each concern, a file for each noun; `engine` and `tables` are the ground."""
