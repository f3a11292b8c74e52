"""The networks: blocks, generator, discriminator, style modules, and the five of them together."""
