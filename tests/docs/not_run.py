"""Commands of the documents that no test runs, each with its reason; their syntax is checked all the same."""

_CLUSTER = "it wants a Kubernetes cluster; tests/architecture/test_deploy.py lints, renders and checks the chart"
_MACHINE = "it changes the machine; tests/architecture/test_deploy.py checks the units against the program"
NOT_RUN = {
    (
        'kubectl create secret generic windlass --from-literal=DATABASE_URL="$DATABASE_URL"'
        ' --from-literal=JWT_SECRET_KEY="$JWT_SECRET_KEY"'
    ): _CLUSTER,
    (
        'helm install shop deploy/helm/windlass --set worker.apps="{shop.flows}"'
        " --set image.repository=registry.example/windlass"
    ): _CLUSTER,
    (
        "cp deploy/systemd/windlass-server.service deploy/systemd/windlass-worker@.service /etc/systemd/system/"
    ): _MACHINE,
    "systemctl enable --now windlass-server windlass-worker@1 windlass-worker@2": _MACHINE,
    "make test": "it is what runs the test that would run it",
    "docker compose up --build": (
        "there may be no Docker engine where the tests run; hadolint and the compose schema check what it reads"
    ),
    'alembic revision --autogenerate -m "Description of changes"': (
        "it would write a migration into the very package that the tests run on; tests/migrations check that there is"
        " nothing to write"
    ),
    "deploy/providers/base-backup.sh": (
        "it copies a whole server with its archive; tests/faults/test_point_in_time.py takes one of its own through it"
    ),
    "deploy/providers/recover.sh '2026-01-31 14:00:00+00' /var/lib/postgresql/recovered": (
        "it wants a server that was lost; tests/faults/test_point_in_time.py brings one back by it"
    ),
    ".venv/bin/python -m examples.debian.run examples/debian/sample/Packages.xz --kill": (
        "examples/debian/README.md says the same and is followed; it takes the longest of all commands"
    ),
}
"""A line of a block, stripped, and why it is left out."""

SYSTEM_ONLY = {
    "lsof -i :8000": "lsof is a system package without a stand-in: `make test-system` runs it",
    'ps -eo rss,args | grep "[s]erve providers"': "as is ps, which `make test-system` runs too",
}
"""The same, for `make test` alone."""
