# One image for every role: `serve` (default), `worker`, `db upgrade`, ... are arguments of `windlass`.

FROM python:3.13-slim-bookworm AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/windlass
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
# The dependencies are a layer of their own, so that a change of the code does not fetch them again.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --no-install-project --extra server
COPY README.md LICENSE ./
COPY src src
RUN uv sync --locked --no-dev --no-editable --extra server

FROM python:3.13-slim-bookworm
ARG APP_VERSION=""
ARG GIT_COMMIT=""
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin windlass \
    && install --directory --owner=windlass --group=windlass /data
COPY --from=build /opt/windlass /opt/windlass
ENV PATH=/opt/windlass/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    APP_VERSION=$APP_VERSION \
    GIT_COMMIT=$GIT_COMMIT \
    DATABASE_URL=sqlite:////data/workflow.db
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["windlass"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
