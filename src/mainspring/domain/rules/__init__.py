"""What is watched, one file for each family of rules. Pure: from what is known to a breach, or to none."""
