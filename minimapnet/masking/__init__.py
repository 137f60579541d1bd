"""Which positions are masked: distributions over masks, what stands in a masked token's place, and proposals."""
