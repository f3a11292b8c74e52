"""A configuration with other values."""

from grape_ops.config import Config, lay_over, parse_config


def changed(config: Config, *overrides: str) -> Config:
    """Lay values over a configuration, as --set does."""
    tree = config.model_dump(mode="json")
    for override in overrides:
        lay_over(tree, override)
    return parse_config(tree, "a test")
