"""Questions, descriptions and instructions about generated rooms, with their exact answers."""
