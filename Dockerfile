# graphward alone: one static binary, no shell, no root, nothing writable except /spool and /var/lib/graphward.
#
#   docker build -t graphward .

# On Alpine, Rust links statically against musl; the image has the C compiler that `ring` needs.
FROM rust:1.95.0-alpine3.23 AS build
# hadolint ignore=DL3018
RUN apk add --no-cache build-base
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY config/sidecar.toml config/sidecar.toml
# The manifest names them; they are not built.
COPY benches benches
COPY fake-graph fake-graph
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --profile dist --locked --package graphward --no-default-features \
    && cp target/dist/graphward /graphward \
    && mkdir -p /empty/spool /empty/run/graphward /empty/var/lib/graphward \
    && chmod 1777 /empty/spool /empty/var/lib/graphward

FROM scratch
LABEL org.opencontainers.image.source="https://github.com/graphward/graphward" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chown=65532:65532 /empty/ /
COPY --from=build /graphward /graphward
COPY config/image.toml /etc/graphward/graphward.toml
USER 65532:65532
VOLUME ["/spool", "/var/lib/graphward"]
EXPOSE 8080 9080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["/graphward", "healthcheck"]
ENTRYPOINT ["/graphward"]
CMD ["serve"]
