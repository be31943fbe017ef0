"""Who is calling: the secret key, tokens and their revocation, and the audit of what actors did."""
