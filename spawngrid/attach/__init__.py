"""Being in an environment: commands and terminals over a channel, which survive their connection."""
