"""From breach to delivery: what is told to the outside, and the channels that carry it."""
