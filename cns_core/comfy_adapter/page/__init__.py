"""What the page in the browser sees: events, routes, progress, trainings while they run and states."""
