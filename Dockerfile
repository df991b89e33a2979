# One static binary on an empty image. tests/static_binary.rs runs such a binary in an empty root directory.
FROM rust:1.95.0-bookworm AS build
WORKDIR /source
COPY . .
# With --target the flags reach only the program, not build scripts and procedural macros, which cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    host=$(rustc -vV | sed -n 's/^host: //p') && \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --package serin --bin serin --target "$host" && \
    cp "target/$host/release/serin" /serin

FROM scratch
# For metrics backends and alert sinks that speak HTTPS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /serin /serin
USER 65532:65532
ENTRYPOINT ["/serin"]
CMD ["controller"]
