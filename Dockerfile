# dejavud in a container: a slim image with its own Python environment; the daemon runs as a user of its own.
FROM python:3.13-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev portaudio19-dev
COPY . /src
RUN python -m venv /opt/dejavud && /opt/dejavud/bin/pip install --no-cache-dir "/src[mic,hooks]"

FROM python:3.13-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libportaudio2 libasound2-plugins \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/dejavud --create-home --groups audio --shell /usr/sbin/nologin dejavud \
    && install --directory --owner dejavud --group dejavud --mode 0700 /run/dejavud
COPY --from=build /opt/dejavud /opt/dejavud
COPY . /usr/src/dejavud
ENV PATH=/opt/dejavud/bin:$PATH \
    DEJAVUD_DATA_DIR=/var/lib/dejavud \
    DEJAVUD_DATA_RUNTIME_DIR=/run/dejavud \
    DEJAVUD_CONTROL=ipc:///run/dejavud/control.sock
VOLUME /var/lib/dejavud
EXPOSE 4141 4242
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["/usr/src/dejavud/packaging/healthcheck"]
# Starts as root to become the user dejavud; with `docker run --user` it stays who it is.
ENTRYPOINT ["/usr/src/dejavud/packaging/entrypoint"]
CMD ["dejavud"]
