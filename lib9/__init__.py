"""What every program here needs and nothing of any one of them (named after plan9port's lib9)."""
