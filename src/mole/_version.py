"""The version of the package, where files can take it for their headers without importing the package."""

__version__ = "0.2.0"
