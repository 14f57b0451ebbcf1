"""How the demo model is made, from drawing its world to the file in ``demo/``."""
