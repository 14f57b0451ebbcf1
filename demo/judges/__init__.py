"""Two small networks, trained on the drawn world, that say what a generated picture shows."""
