"""A drawn world: captioned scenes of coloured, patterned things in places and styles, from a seeded generator."""
