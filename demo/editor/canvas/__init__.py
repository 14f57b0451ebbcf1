"""Describes workflows in Python and writes them as the editor saves them."""
