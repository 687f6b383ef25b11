# syntax=docker/dockerfile:1

# Where the program is built; the image has the C compiler that SQLite and ring need.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /src
# What `safelight_build_info` tells: docker build --build-arg COMMIT="$(git rev-parse --short HEAD)".
ARG COMMIT=unknown
COPY . .
# The caches outlive a build: a change of the sources does not compile the dependencies again. They
# are no part of any layer, so the program is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    SAFELIGHT_COMMIT="$COMMIT" cargo build --release --locked --bin safelight \
    && cp target/release/safelight /usr/local/bin/safelight

FROM debian:bookworm-slim
# The roots of trust for the CDN and for storage. Not pinned: the newest ones are the right ones.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    # A new volume takes over the owner of the directory that it is mounted on.
    && install -d -o 65532 -g 65532 /var/lib/safelight /var/lib/safelight/data
COPY --from=builder /usr/local/bin/safelight /usr/local/bin/safelight

# The environment wins over the settings file: what is set here is changed with `docker run -e`.
ENV SAFELIGHT_CONFIG="/etc/safelight/safelight.toml" \
    SAFELIGHT__SERVER__APPSDIR="/etc/safelight/apps.d" \
    SAFELIGHT__SERVER__ADMINLISTEN="0.0.0.0:9090"

# A number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 65532:65532
# The default of Records.URL, ./data/safelight.db, is relative to this: it lies in the volume.
WORKDIR /var/lib/safelight
VOLUME ["/var/lib/safelight/data"]
# The world's listener, and the operator's: publish the second one to nobody but your monitoring.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["safelight", "healthcheck"]
ENTRYPOINT ["safelight"]
CMD ["serve"]
