"""What makes a node run: its loops, and how one attempt is carried out."""
