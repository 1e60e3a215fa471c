"""Contract tests that every method and task passes, and the tiny backbones they run on. Travels inside the package:
`featherbench test method NAME` runs them on a plug-in."""
