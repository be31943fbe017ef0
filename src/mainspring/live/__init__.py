"""What goes on, told as it happens: topics that change, without the data."""
