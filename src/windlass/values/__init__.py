"""Values of users as JSON: kept by the engine, restored by their types."""
