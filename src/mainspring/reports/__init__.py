"""Reports: where rows come from, how they are written, and where the files lie."""
