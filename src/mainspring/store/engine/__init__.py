"""Both databases behind one door: connections, transactions, the dialects' differences, and signals."""
