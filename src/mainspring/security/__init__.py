"""Who is calling: every credential, how it is proven and how it ends; and the audit of what actors did."""
