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
# The visitors' side only. The operators' side stays on the container's own loopback, where `docker exec … gate status` finds
# it: on 0.0.0.0 every container of the same network could reach it, published or not, and it speaks plain HTTP with tokens.
# Who needs it outside sets GATE_OPERATOR__LISTEN=0.0.0.0:8081 and publishes that port to the operators' network alone.
EXPOSE 8080
# Does a worker serve? Asked on the operators' side, which speaks plain HTTP whatever `tls` and `hosts` say about the other.
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/ready', timeout=2)"]
CMD ["gate", "serve"]
