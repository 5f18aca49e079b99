# syntax=docker/dockerfile:1
# Two stages: the wheel is built in one, and only what runs goes into the other.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gate ./gate
COPY static ./static
COPY config ./config
RUN python -m venv /opt/floodgate \
    && /opt/floodgate/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/floodgate --create-home floodgate
COPY --from=build /opt/floodgate /opt/floodgate
ENV PATH=/opt/floodgate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATE_LISTEN=0.0.0.0:8080 \
    GATE_STATE=/var/lib/floodgate
USER 10001
# The only place that is written to; everything else may be read-only (docker run --read-only).
VOLUME /var/lib/floodgate
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/__gate/live', timeout=2)"]
CMD ["gate", "serve"]
