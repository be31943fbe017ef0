"""All SQL: SQLAlchemy Core, one file per noun."""
