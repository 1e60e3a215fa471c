"""The commands of `featherbench`, by what they are about; cli.py puts them together."""
