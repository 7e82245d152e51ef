# dejavud in a container: what packaging/deb/build makes, on a slim Debian.  A user of its own, a root that may be read-only, no Python beside the bundled one.
#   docker build --tag dejavud .                      the daemon
#   docker build --target test --tag dejavud-test .   what runs its tests: docker run --rm dejavud-test
FROM debian:bookworm-slim AS build
COPY . /src
# Quickly compressed: the file and the package do not leave this stage.
RUN LEVEL=3 /src/packaging/binary/build /out/dejavud && LEVEL=0 /src/packaging/deb/build /out/dejavud /out

# As root, since it installs what it needs: PulseAudio, FFmpeg, a PostgreSQL, a MariaDB, a browser and more.
FROM debian:bookworm-slim AS test
COPY . /usr/src/dejavud
ENTRYPOINT ["/usr/src/dejavud/run-tests"]

FROM debian:bookworm-slim AS runtime
# hadolint ignore=DL3008
RUN --mount=type=bind,from=build,source=/out,target=/out \
    useradd --system --user-group --uid 10001 --home-dir /var/lib/dejavud --shell /usr/sbin/nologin dejavud \
    && apt-get update \
    && apt-get install --yes --no-install-recommends /out/dejavud_*.deb libasound2 \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
    && install --directory --owner dejavud --group dejavud --mode 0700 /run/dejavud
COPY tests/golden/classic.wav /usr/share/dejavud/
COPY packaging/run_tests /usr/bin/
ENV HOME=/var/lib/dejavud \
    DEJAVUD_DATA_DIR=/var/lib/dejavud \
    DEJAVUD_DATA_RUNTIME_DIR=/run/dejavud \
    DEJAVUD_CONTROL=ipc:///run/dejavud/control.sock
VOLUME /var/lib/dejavud
EXPOSE 4141 4242
USER 10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["dejavuctl", "ready"]
CMD ["dejavud"]
