"""mole: deep models that keep learning online in a world that changes."""

__version__ = "0.1.0"
