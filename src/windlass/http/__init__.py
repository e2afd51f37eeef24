"""The HTTP edge: routes, errors to statuses, middleware, logs and metrics. FastAPI lives only here."""
